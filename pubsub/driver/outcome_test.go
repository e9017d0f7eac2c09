package driver_test

import (
	"testing"

	"github.com/waybill-go/waybill/pubsub/driver"
)

func TestFateOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		code         driver.Code
		sent, unsent driver.Fate // of one message
		several      driver.Fate // of one among others
	}{
		{driver.CodeNotFound, driver.Refused, driver.Refused, driver.Refused},
		{driver.CodePermissionDenied, driver.Refused, driver.Refused, driver.Refused},
		{driver.CodeTooLarge, driver.Refused, driver.Refused, driver.Aborted},
		{driver.CodeInvalid, driver.Refused, driver.Refused, driver.Aborted},
		{driver.CodeExhausted, driver.Aborted, driver.Aborted, driver.Aborted},
		{driver.CodeUnavailable, driver.Unknown, driver.Aborted, driver.Unknown},
		{driver.CodeInternal, driver.Unknown, driver.Aborted, driver.Unknown},
		{driver.CodeCanceled, driver.Unknown, driver.Aborted, driver.Unknown},
	} {
		err := driver.Errorf(c.code, "no")
		if f := driver.FateOf(err, 1, true); f != c.sent {
			t.Errorf("%s, sent: %s, want %s", c.code, f, c.sent)
		}
		if f := driver.FateOf(err, 1, false); f != c.unsent {
			t.Errorf("%s, not sent: %s, want %s", c.code, f, c.unsent)
		}
		if f := driver.FateOf(err, 2, true); f != c.several {
			t.Errorf("%s, of two: %s, want %s", c.code, f, c.several)
		}
	}
	if f := driver.FateOf(nil, 1, true); f != driver.Stored {
		t.Errorf("no error: %s", f)
	}
}

func TestConclude(t *testing.T) {
	t.Parallel()
	for code, want := range map[driver.Code]driver.Outcome{
		driver.CodeLost: driver.Lost, driver.CodeUnavailable: driver.Again, driver.CodeExhausted: driver.Again,
		driver.CodeInvalid: driver.Failed, driver.CodePermissionDenied: driver.Failed,
	} {
		var v driver.Settlement
		v.Conclude(driver.Sent, driver.Errorf(code, "no"))
		if v.Outcome != want || (v.OutcomeErr != nil) != (want == driver.Again || want == driver.Failed) {
			t.Errorf("%s: %s, %v; want %s", code, v.Outcome, v.OutcomeErr, want)
		}
	}
	var v driver.Settlement
	if v.Conclude(driver.Sent, nil); v.Outcome != driver.Sent || v.OutcomeErr != nil {
		t.Errorf("no error: %s, %v", v.Outcome, v.OutcomeErr)
	}
}
