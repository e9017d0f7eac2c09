package kafka

import (
	"context"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/IBM/sarama"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/waybill-go/waybill/pubsub/driver"
)

// beside opens a table's topic and group on a connection of another config.
func (b *table) beside(c Config) *table {
	d, err := New(c)
	must(b, err)
	opened, err := d.Open(b.Context())
	must(b, err)
	b.Cleanup(func() { _ = opened.Close(context.Background()) })
	return &table{TB: b.TB, conn: opened.(*conn), request: b.request}
}

func (b *table) admin() sarama.ClusterAdmin {
	a, err := sarama.NewClusterAdminFromClient(b.conn.client)
	must(b, err)
	return a
}

// owners waits until a group has so many static members that own partitions, and says
// which.
func (b *table) owners(n int) map[string][]int32 {
	b.Helper()
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	for ctx.Err() == nil {
		groups, err := b.admin().DescribeConsumerGroups([]string{b.conn.groupOf(&b.request)})
		must(b, err)
		owned := map[string][]int32{}
		for _, m := range groups[0].Members {
			a, err := m.GetMemberAssignment()
			must(b, err)
			if m.GroupInstanceId != nil && a != nil && len(a.Topics[b.request.Topic]) > 0 {
				owned[*m.GroupInstanceId] = slices.Sorted(slices.Values(a.Topics[b.request.Topic]))
			}
		}
		if len(owned) == n && groups[0].State == "Stable" {
			return owned
		}
		wait(ctx, 50*time.Millisecond)
	}
	b.Fatalf("there are not %d static members that own partitions", n)
	return nil
}

// A static member that comes back in time finds its partitions unmoved, and nobody else
// notices.
func TestStaticMembership(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.Partitions, c.Instance = 4, "one"
	one := set(t, c)
	c.Instance = "two"
	two := one.beside(c)
	first, second := one.join(), two.join()
	before := one.owners(2)
	must(t, first.Close(t.Context()))
	for p := range int32(4) {
		must(t, stranger(one, kgo.RecordPartitioner(kgo.ManualPartitioner())).ProduceSync(t.Context(), &kgo.Record{Partition: p}).FirstErr())
	}
	stays := two.take(second, len(before["two"]))
	two.none(second)
	first = one.join()
	comes := one.take(first, len(before["one"]))
	if after := one.owners(2); !maps.EqualFunc(before, after, slices.Equal) {
		t.Errorf("partitions moved from %v to %v", before, after)
	}
	one.settle(first, driver.Ack, comes...)
	two.settle(second, driver.Ack, stays...)
	must(t, first.Close(t.Context()))
	must(t, second.Close(t.Context()))
}

// Of two members of one instance the first is told.
func TestInstanceTwice(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.Instance = "one"
	b := set(t, c)
	first := b.join()
	second := b.beside(c).join()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var in driver.Intake
	err := first.Receive(ctx, &in)
	for err == nil {
		in.Reset()
		err = first.Receive(ctx, &in)
	}
	if driver.CodeOf(err) != driver.CodeConflict || !strings.Contains(err.Error(), "instance") {
		t.Errorf("got %v (%s)", err, driver.CodeOf(err))
	}
	_ = first.Close(t.Context())
	must(t, second.Close(t.Context()))
}

// A group id that programs of another kind use is refused with the reason.
func TestGroupOfAnotherProtocol(t *testing.T) {
	t.Parallel()
	b := set(t, quick(t))
	group := b.conn.groupOf(&b.request)
	broker, err := b.conn.client.Coordinator(group)
	must(t, err)
	r := &sarama.JoinGroupRequest{Version: 2, GroupId: group, SessionTimeout: 6000, RebalanceTimeout: 6000, ProtocolType: "connect"}
	r.AddGroupProtocol("compatible", []byte("of its own"))
	joined, err := broker.JoinGroup(r)
	must(t, err)
	if joined.Err != sarama.ErrNoError {
		t.Fatal(joined.Err)
	}
	_, err = b.conn.Subscribe(t.Context(), b.request)
	if driver.CodeOf(err) != driver.CodeConflict || !strings.Contains(err.Error(), "another group") {
		t.Errorf("got %v (%s)", err, driver.CodeOf(err))
	}
}

// Messages that were deleted before they were handled are an error, or skipped where
// the settings say so.
func TestDeletedRecords(t *testing.T) {
	t.Parallel()
	for policy, want := range map[string]string{"error": "", "oldest": "6"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			c := quick(t)
			c.OutOfRange = policy
			b := set(t, c)
			b.send(0, 10)
			must(t, b.admin().DeleteRecords(b.request.Topic, map[int32]int64{0: 6}))
			if policy == "error" {
				_, err := b.conn.Subscribe(t.Context(), b.request)
				if driver.CodeOf(err) != driver.CodeNotFound || !strings.Contains(err.Error(), "out-of-range") {
					t.Errorf("got %v", err)
				}
				return
			}
			s := b.join()
			got := b.take(s, 4)
			if string(got[0].Body) != want {
				t.Errorf("got %s first, want %s", got[0].Body, want)
			}
			b.settle(s, driver.Ack, got...)
			must(t, s.Close(t.Context()))
		})
	}
}

// A member that leaves while its group waits for another one leaves all the same, and the
// group does not wait for it.
func TestLeavingWhileTheGroupWaits(t *testing.T) {
	t.Parallel()
	c := quick(t)
	c.Partitions, c.SessionTimeout, c.RebalanceTimeout = 2, time.Minute, time.Minute
	slow := c
	slow.Grace = 50 * time.Second
	one := set(t, slow)
	for p := range int32(2) {
		must(t, stranger(one, kgo.RecordPartitioner(kgo.ManualPartitioner())).ProduceSync(t.Context(), &kgo.Record{Partition: p}).FirstErr())
	}
	first := one.join()
	had := one.take(first, 2) // the partition that it gives up waits for its message
	two, three := one.beside(c), one.beside(c)
	second := two.join()
	third := make(chan driver.Session, 1)
	go func() { third <- three.join() }()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	group := func() *sarama.GroupDescription {
		groups, err := one.admin().DescribeConsumerGroups([]string{one.conn.groupOf(&one.request)})
		must(t, err)
		return groups[0]
	}
	for group().State != "PreparingRebalance" {
		wait(ctx, 50*time.Millisecond)
		must(t, ctx.Err())
	}
	wait(ctx, time.Second) // until the second one's heartbeat has told it to join
	left := second.(*session).member.MemberID()
	must(t, second.Close(ctx))
	if _, still := group().Members[left]; still {
		t.Error("the group still waits for a member that has left")
	}
	one.settle(first, driver.Ack, had...)
	must(t, first.Close(t.Context()))
	must(t, (<-third).Close(t.Context()))
}
