//go:build unix

package rabbitnode

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"
)

// membership is a node's place in a cluster. A node of its own has a name and a cookie.
type membership struct {
	name   string
	cookie string
	// peers are the names of all nodes of the cluster.
	peers []string
	// epmd is the port of the first node's port mapper, which all share; zero for that node itself.
	epmd int
}

// config are the lines of rabbitmq.conf by which the nodes find each other.
func (m membership) config() []string {
	if len(m.peers) == 0 {
		return nil
	}
	lines := []string{"cluster_formation.peer_discovery_backend = classic_config"}
	for i, peer := range m.peers {
		lines = append(lines, fmt.Sprintf("cluster_formation.classic_config.nodes.%d = %s", i+1, peer))
	}
	return lines
}

// Cluster is several nodes that are one broker.
type Cluster struct {
	// Nodes can be stopped, killed and started again one by one, as long as most of them run: a node that comes back waits
	// for one that has gone on without it. [Cluster.Close] closes them.
	Nodes []*Node
}

// Queue is what a cluster says of a quorum queue.
type Queue struct {
	// Leader is the name of the node that leads it.
	Leader string
	// Online are the names of the nodes with a replica that takes part.
	Online []string
}

// StartCluster makes n nodes, each with the options, that are one broker, and returns once every node accepts AMQP
// connections and knows all the others. Errors are those of [Start]. With Options.Dir each node has a directory below it.
// Whoever calls StartCluster calls Close.
func StartCluster(ctx context.Context, n int, options Options) (*Cluster, error) {
	if n < 1 {
		return nil, fmt.Errorf("starting a cluster of %d nodes, want at least one", n)
	}
	cookie, peers := rand.Text(), make([]string, n)
	for i := range peers {
		peers[i] = fmt.Sprintf("rabbitnode%d@localhost", i+1)
	}
	c, epmd := &Cluster{}, 0
	for i, name := range peers {
		own := options
		if own.Dir != "" {
			own.Dir = filepath.Join(own.Dir, strconv.Itoa(i+1))
		}
		node, err := newNode(own, membership{name: name, cookie: cookie, peers: peers, epmd: epmd})
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		c.Nodes = append(c.Nodes, node)
		epmd = c.Nodes[0].ports.epmd
	}
	starting, together := errgroup.WithContext(ctx)
	for _, node := range c.Nodes {
		starting.Go(func() error { return node.Start(together) })
	}
	err := starting.Wait()
	if err == nil {
		err = c.complete(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// complete checks that the nodes found each other: one that finds nobody starts alone.
func (c *Cluster) complete(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	out, err := c.Nodes[0].Ctl(ctx, "eval", "length(rabbit_nodes:all_running()).")
	if err != nil {
		return err
	}
	if got, want := strings.TrimSpace(string(out)), strconv.Itoa(len(c.Nodes)); got != want {
		return fmt.Errorf("forming a cluster: %s sees %s nodes running, want %s", c.Nodes[0].Name(), got, want)
	}
	return nil
}

// Queues returns the quorum queues of the default virtual host by name, as one of the running nodes knows them. It takes
// seconds, as [Node.Ctl] does.
func (c *Cluster) Queues(ctx context.Context) (map[string]Queue, error) {
	at := slices.IndexFunc(c.Nodes, (*Node).isRunning)
	if at < 0 {
		return nil, errors.New("listing queues: no node of the cluster runs")
	}
	out, err := c.Nodes[at].Ctl(ctx, "--silent", "list_queues", "name", "leader", "online", "--formatter", "json")
	if err != nil {
		return nil, err
	}
	var list []struct {
		Name   string          `json:"name"`
		Leader string          `json:"leader"`
		Online json.RawMessage `json:"online"` // an empty text for a classic queue
	}
	if err := json.Unmarshal(out, &list); err != nil {
		return nil, fmt.Errorf("reading the list of queues: %w", err)
	}
	queues := make(map[string]Queue)
	for _, q := range list {
		var online []string
		if json.Unmarshal(q.Online, &online) == nil {
			queues[q.Name] = Queue{Leader: q.Leader, Online: online}
		}
	}
	return queues, nil
}

// Node returns the node of that name, or nil.
func (c *Cluster) Node(name string) *Node {
	for _, node := range c.Nodes {
		if node.Name() == name {
			return node
		}
	}
	return nil
}

// Close closes all nodes.
func (c *Cluster) Close() error {
	var closing errgroup.Group
	for _, node := range c.Nodes[min(1, len(c.Nodes)):] {
		closing.Go(node.Close)
	}
	err := closing.Wait()
	if len(c.Nodes) > 0 { // The last, as it has the port mapper.
		err = errors.Join(err, c.Nodes[0].Close())
	}
	return err
}
