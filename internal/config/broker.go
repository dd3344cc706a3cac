package config

// brokerOptions returns the options about the connection to RabbitMQ.
func brokerOptions() []Option {
	const (
		switches = "true, false, yes or no"
		pem      = "a text in PEM, or the path of a file that holds one"
	)
	return []Option{
		{
			Env: "MQ_HOST", Kind: Text,
			Description: "Host of RabbitMQ, where it is not the one that OpenCTI tells.",
			Accepts:     "a host name or address",
			set:         into(func(c *Config) *string { return &c.MQ.Host }, parseText),
		},
		{
			Env: "MQ_PORT", Kind: Number,
			Description: "Port of RabbitMQ, where it is not the one that OpenCTI tells.",
			Accepts:     "a whole number from 1 to 65535",
			Least:       1, Most: 65535,
			set: into(func(c *Config) *int { return &c.MQ.Port }, parseInt(1, 65535)),
		},
		{
			Env: "MQ_VHOST", Kind: Text,
			Description: "Virtual host of RabbitMQ, where it is not the one that OpenCTI tells.",
			Accepts:     "the name of a virtual host",
			set:         into(func(c *Config) *string { return &c.MQ.VHost }, parseText),
		},
		{
			Env: "MQ_USER", Kind: Text,
			Description: "User of RabbitMQ, where it is not the one that OpenCTI tells.",
			Accepts:     "the name of a user",
			set:         into(func(c *Config) *string { return &c.MQ.User }, parseText),
		},
		{
			Env: "MQ_PASS", Kind: Text, Secret: true,
			Description: "Password of RabbitMQ, where it is not the one that OpenCTI tells.",
			Accepts:     "a password",
			set:         func(c *Config, value string) error { c.MQ.Pass = NewSecret(value); return nil },
		},
		{
			Env: "MQ_USE_SSL", Kind: Bool,
			Description: "Speak TLS with RabbitMQ, where OpenCTI tells otherwise.",
			Accepts:     switches,
			set:         into(func(c *Config) **bool { return &c.MQ.UseSSL }, optional(parseBool)),
		},
		{
			Env: "MQ_USE_SSL_CA", Kind: Text,
			Description: "Certificates of the authorities to trust for RabbitMQ, besides the system's.",
			Accepts:     pem,
			set:         into(func(c *Config) *string { return &c.MQ.CA }, parseCA),
		},
		{
			Env: "MQ_USE_SSL_CERT", Kind: Text,
			Description: "Client certificate for RabbitMQ.",
			Accepts:     pem,
			set:         into(func(c *Config) *string { return &c.MQ.Cert }, parsePEM),
		},
		{
			Env: "MQ_USE_SSL_KEY", Kind: Text, Secret: true,
			Description: "Key of the client certificate for RabbitMQ.",
			Accepts:     pem,
			set:         into(func(c *Config) *Secret { return &c.MQ.Key }, parseSecretPEM),
		},
		{
			Env: "MQ_USE_SSL_PASSPHRASE", Kind: Text, Secret: true,
			Description: "Passphrase of that key, if it is encrypted.",
			Accepts:     "the passphrase of the key in MQ_USE_SSL_KEY",
			set:         func(c *Config, value string) error { c.MQ.Passphrase = NewSecret(value); return nil },
		},
		{
			Env: "MQ_USE_SSL_REJECT_UNAUTHORIZED", Kind: Bool, Default: "true",
			Description: "Check the certificate of RabbitMQ.",
			Accepts:     switches,
			set:         into(func(c *Config) *bool { return &c.MQ.RejectUnauthorized }, parseBool),
		},
	}
}
