package health

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"
)

const (
	// headerTimeout and idleTimeout keep slow or forgotten clients from piling up.
	headerTimeout = 5 * time.Second
	idleTimeout   = time.Minute
	// farewell is how long requests under way have when the server ends.
	farewell = time.Second
)

// listen serves until ctx ends. When it cannot, it logs a warning that names what is not served, and returns at once.
func listen(ctx context.Context, address string, handler http.Handler, what string, log *slog.Logger) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		if ctx.Err() == nil {
			log.WarnContext(ctx, "not served over HTTP, all else goes on", slog.String("what", what),
				slog.String("address", address), slog.Any("error", err))
		}
		return
	}
	log.InfoContext(ctx, "serving over HTTP", slog.String("what", what), slog.String("address", listener.Addr().String()))
	server := &http.Server{
		Handler:           handler,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	stopped := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(stopped)
		last, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		if server.Shutdown(last) != nil {
			_ = server.Close() // whoever still asks has had their time
		}
	})
	if err := server.Serve(listener); ctx.Err() == nil {
		log.WarnContext(ctx, "no longer served over HTTP, all else goes on", slog.String("what", what), slog.Any("error", err))
	}
	if !stop() {
		<-stopped
	}
}
