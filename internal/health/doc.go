// Package health tells over HTTP how the worker is, for whoever starts and stops it.
//
// GET /livez is 200 while the worker's loop goes round, and 503 when only a restart will help. GET /readyz is 200 while
// everything is there that a job needs, and 503 otherwise; its body names each dependency and what is wrong with it:
//
//	{"ready":false,"dependencies":{
//	  "hops":{"ok":false,"informative":true,"reason":"lookup takes no jobs (credits) ...","details":[...]},
//	  "ipqs":{"ok":true,"informative":true},
//	  "opencti":{"ok":true},
//	  "rabbitmq":{"ok":false,"reason":"not connected to RabbitMQ (consume): EOF"}}}
//
// A dependency that is informative is listed and does not decide: IPQS being away, or the account out of credits, is no
// reason to restart or to replace the worker, whose jobs wait for it.
//
// The address is a convenience, never a condition: where it cannot be listened on, that is a warning and the worker works.
package health
