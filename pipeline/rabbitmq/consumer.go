package rabbitmq

import (
	"context"
	"fmt"

	"github.com/ThreeDotsLabs/watermill/message"
	amqp "github.com/rabbitmq/amqp091-go"
)

// consumer hands out what comes on one channel. When the window changes it makes another consumer on the same channel, so
// that what is in hand can still be acked.
type consumer struct {
	*subscription
	ch      *amqp.Channel
	acks    *acks
	closes  <-chan *amqp.Error
	cancels <-chan string
	ended   <-chan struct{} // closed with the channel

	tag        string
	tags       int                  // made on this channel
	size       int                  // the window of the consumer that there is, 0 without one
	deliveries <-chan amqp.Delivery // nil without a consumer
	held       []amqp.Delivery      // delivered, and in nobody's hand
	next       *inHands             // held[0] as it is to be given; nil if that is not made yet
}

// run hands out until the channel ends or stop.
func (c *consumer) run() (consumed bool, err error) {
	for {
		if size := c.window.get(); size != c.size || !consumed {
			if err := c.resize(size); err != nil {
				return consumed, err
			}
			consumed = true
			c.failed(nil)
		}
		if c.stop.Err() != nil {
			c.drain()
			return true, nil //nolint:nilerr // it was to stop
		}
		blocked := c.transport.publishing.unblocked()
		var out chan<- *message.Message
		var next *message.Message
		// While publishing is blocked, a hop could not pass on what it got; and what came on a channel that has ended comes again.
		if len(c.held) > 0 && blocked == nil && c.window.room() && !c.ch.IsClosed() {
			out, next = c.out, c.read()
			select { // Mostly there is somebody who takes it, and asking for less is cheaper.
			case out <- next:
				c.gave()
				continue
			default:
			}
		}
		select {
		case d, ok := <-c.deliveries:
			if !ok { // Not a message: the channel ended, or the broker cancelled. See closes and cancels.
				return true, c.reason()
			}
			c.hold(d)
		case out <- next:
			c.gave()
		case <-blocked:
		case <-c.window.changed:
		case err := <-c.closes:
			return true, closed(err)
		case <-c.cancels:
			return true, errCancelled
		case <-c.stop.Done():
			c.drain()
			return true, nil
		}
	}
}

func (c *consumer) hold(d amqp.Delivery) {
	c.acks.deliver()
	c.held = append(c.held, d)
}

// read makes the message of the first delivery that is held.
func (c *consumer) read() *message.Message {
	if c.next == nil {
		d := c.held[0]
		msg := c.transport.unmarshal(d)
		ctx, cancel := context.WithCancel(c.base)
		msg.SetContext(ctx)
		c.next = &inHands{msg: msg, tag: d.DeliveryTag, redelivered: d.Redelivered, acks: c.acks, ended: c.ended, cancel: cancel}
	}
	return c.next.msg
}

// gave moves the first of what is held to the subscriber's hands.
func (c *consumer) gave() {
	c.window.add(1)
	c.hands.add(c.next)
	c.next = nil
	c.held[0] = amqp.Delivery{}
	c.held = c.held[1:]
}

// resize ends the consumer that there is, and makes one with another prefetch unless that is 0. Of what was delivered to the
// first, as much as the window is held for the second.
func (c *consumer) resize(size int) error {
	if c.deliveries != nil {
		tag := c.tag
		go func() { _ = c.ch.Cancel(tag, false) }() // It ends with the channel at the latest, and closes deliveries.
		for c.deliveries != nil {
			select {
			case d, ok := <-c.deliveries:
				if ok {
					c.hold(d)
				} else {
					c.deliveries = nil
				}
			case <-c.stop.Done():
				return nil // drain does it.
			}
		}
	}
	for len(c.held) > size {
		last := len(c.held) - 1
		c.acks.requeue(c.held[last].DeliveryTag)
		c.held = c.held[:last]
	}
	if len(c.held) == 0 {
		c.forget()
	}
	c.size = size
	if size == 0 {
		return nil
	}
	if err := c.ch.Qos(size, 0, false); err != nil {
		return fmt.Errorf("setting the prefetch: %w", err)
	}
	c.tags++
	c.tag = fmt.Sprint("consumer-", c.tags) // Unique on its channel, which is all that is needed.
	deliveries, err := c.ch.Consume(c.queue, c.tag, false, false, false, false, nil)
	if err != nil {
		return fmt.Errorf("consuming: %w", err)
	}
	c.deliveries = deliveries
	return nil
}

// drain stops the deliveries, gives back what was not handed out, and waits for the rest.
func (c *consumer) drain() {
	if c.deliveries != nil {
		tag := c.tag
		go func() { _ = c.ch.Cancel(tag, false) }() // It ends with the channel at the latest, and closes deliveries.
	}
	for _, d := range c.held {
		c.acks.requeue(d.DeliveryTag)
	}
	for c.deliveries != nil {
		select {
		case d, ok := <-c.deliveries:
			if !ok {
				c.deliveries = nil
				continue
			}
			c.acks.deliver()
			c.acks.requeue(d.DeliveryTag)
		case <-c.over:
			return
		}
	}
	select {
	case <-c.acks.drain():
	case <-c.closes: //nolint:errcheck // whatever the reason, the broker has taken back what is in hand
	case <-c.over:
	}
}

// forget drops the message that was to be given next.
func (c *consumer) forget() {
	if c.next != nil {
		c.next.cancel()
		c.next = nil
	}
}

// reason says why the deliveries ended.
func (c *consumer) reason() error {
	select {
	case err := <-c.closes:
		return closed(err)
	default:
		return errCancelled
	}
}
