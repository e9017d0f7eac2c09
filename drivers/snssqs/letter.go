package snssqs

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// bury sends copies of dead messages to the dead letter. It returns those that are to be
// deleted: their copies are confirmed. The others get their outcomes.
func (s *session) bury(ctx context.Context, dead []*driver.Settlement) (confirmed []*driver.Settlement) {
	if len(dead) == 0 {
		return nil
	}
	if s.letters == nil {
		for _, v := range dead {
			v.Outcome, v.OutcomeErr = driver.Failed, invalid("the subscription has no native dead letter")
		}
		return nil
	}
	letters := make([]driver.Message, len(dead))
	for i, v := range dead {
		letters[i] = s.letter(v)
	}
	fates := make([]told, len(dead))
	var wait sync.WaitGroup
	wait.Add(len(dead))
	s.letters.Send(ctx, letters, func(i int, f driver.Fate, err error) {
		fates[i] = told{f, err}
		wait.Done()
	})
	wait.Wait()
	for i, v := range dead {
		switch v.OutcomeErr = fates[i].err; fates[i].fate {
		case driver.Stored:
			confirmed = append(confirmed, v)
		case driver.Refused:
			v.Outcome = driver.Failed
		default:
			v.Outcome = driver.Again
		}
	}
	return confirmed
}

// letter is a dead message with headers that say where, why and when, if there is room.
func (s *session) letter(v *driver.Settlement) driver.Message {
	r := v.Token.(*receipt)
	var d driver.Delivery
	decode(r.message, s.plan.fifo, &d)
	letter := d.Message
	letter.Headers = maps.Clone(d.Headers)
	letter.MarkDead(s.request.Topic, s.request.Group, r.attempt, v.Err)
	if encode(&letter, s.letters.plan, time.Now()).size > s.letters.plan.limit {
		return d.Message
	}
	return letter
}
