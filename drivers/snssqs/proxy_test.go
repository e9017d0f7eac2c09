package snssqs_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// A proxy stands before the emulator, counts requests by action and plays faults.
type proxy struct {
	*httptest.Server
	target string

	mu     sync.Mutex
	counts map[string]int
	keys   map[string]int                   // access keys of the requests
	polls  int                              // receives that run
	most   int                              // of them at a time
	fault  func(action string, n int) fault // n counts requests of the action, from 1
	seen   func(action string, body []byte)

	holding chan struct{} // closed when an answer is held
	kept    kept          // that answer
}

// kept is the answer to a poll that was cut, by its name.
type kept struct {
	name   string
	status int
	header http.Header
	text   []byte
}

// A fault is what becomes of a request.
type fault int

const (
	none     fault = iota
	throttle       // refused: too many requests
	broken         // refused: the server failed
	cut            // done, and the answer is lost
	late           // done, and the answer comes when the client has given up waiting
	partial        // the first entry of a batch failed, the others are done
	stale          // the first entry's receipt handle is no longer good
	expired        // refused: the credentials' time is over
	denied         // refused: not allowed
	held           // done, and the answer is kept until the client is gone
	released       // answered with what is kept, if it is asked for by the same name
)

// behind starts a proxy before the broker of a URL, and returns the URL of the proxy.
func behind(t testing.TB, raw string) (*proxy, string) {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	p := &proxy{target: q.Get("endpoint"), counts: map[string]int{}, keys: map[string]int{}, holding: make(chan struct{})}
	p.Server = httptest.NewServer(p)
	t.Cleanup(p.Close)
	q.Set("endpoint", p.URL)
	u.RawQuery = q.Encode()
	return p, u.String()
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	action := strings.TrimPrefix(r.Header.Get("X-Amz-Target"), "AmazonSQS.")
	if action == "" {
		form, _ := url.ParseQuery(string(body))
		action = form.Get("Action")
	}
	f := p.note(action, r, body)
	if action == "ReceiveMessage" {
		defer func() {
			p.mu.Lock()
			p.polls--
			p.mu.Unlock()
		}()
	}
	switch f {
	case throttle:
		answer(w, r, http.StatusBadRequest, "ThrottlingException")
	case broken:
		answer(w, r, http.StatusServiceUnavailable, "ServiceUnavailable")
	case expired:
		answer(w, r, http.StatusForbidden, "ExpiredToken")
	case denied:
		answer(w, r, http.StatusForbidden, "AccessDenied")
	case partial, stale:
		p.part(w, r, body, f)
	case held:
		p.hold(r, body)
	case released:
		if k := p.kept; pollName(body) == k.name {
			reply(w, k.status, k.header, k.text)
		}
	default:
		status, header, text := p.forward(r, body)
		if f == late {
			<-r.Context().Done()
		}
		if f == cut || f == late {
			panic(http.ErrAbortHandler)
		}
		reply(w, status, header, text)
	}
}

// hold keeps the answer to a FIFO's poll; of another queue it does not ask.
func (p *proxy) hold(r *http.Request, body []byte) {
	if name := pollName(body); name != "" {
		p.kept.name = name
		p.kept.status, p.kept.header, p.kept.text = p.forward(r, body)
	}
	close(p.holding)
	<-r.Context().Done()
	panic(http.ErrAbortHandler)
}

// pollName is the name of a poll of FIFO.
func pollName(body []byte) string {
	_, rest, _ := strings.Cut(string(body), `"ReceiveRequestAttemptId":"`)
	name, _, _ := strings.Cut(rest, `"`)
	return name
}

func (p *proxy) note(action string, r *http.Request, body []byte) fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.counts[action]++
	if _, credential, ok := strings.Cut(r.Header.Get("Authorization"), "Credential="); ok {
		key, _, _ := strings.Cut(credential, "/")
		p.keys[key]++
	}
	if action == "ReceiveMessage" {
		p.polls++
		p.most = max(p.most, p.polls)
	}
	if p.seen != nil {
		p.seen(action, body)
	}
	if p.fault == nil {
		return none
	}
	return p.fault(action, p.counts[action])
}

// play sets what becomes of requests from now on.
func (p *proxy) play(f func(action string, n int) fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
}

func (p *proxy) count(action string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.counts[action]
}

func (p *proxy) forward(r *http.Request, body []byte) (int, http.Header, []byte) {
	// What was begun is done, whether or not the client is still there.
	out, err := http.NewRequestWithContext(context.WithoutCancel(r.Context()), r.Method, p.target+r.URL.RequestURI(), bytes.NewReader(body))
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	out.Header = r.Header.Clone()
	response, err := http.DefaultClient.Do(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	return response.StatusCode, response.Header, text
}

func reply(w http.ResponseWriter, status int, header http.Header, text []byte) {
	for name, values := range header {
		if name != "Content-Length" {
			w.Header()[name] = values
		}
	}
	w.WriteHeader(status)
	_, _ = w.Write(text)
}

func answer(w http.ResponseWriter, r *http.Request, status int, code string) {
	if r.Header.Get("X-Amz-Target") != "" {
		w.Header().Set("Content-Type", "application/x-amz-json-1.0")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"__type":"`+code+`","message":"as the test wants"}`)
		return
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, `<ErrorResponse><Error><Type>Sender</Type><Code>`+code+`</Code><Message>as the test wants</Message></Error><RequestId>1</RequestId></ErrorResponse>`)
}

// part forwards a batch without its first entry, which fails. What is no batch passes.
func (p *proxy) part(w http.ResponseWriter, r *http.Request, body []byte, f fault) {
	if form, err := url.ParseQuery(string(body)); err == nil && form.Get("Action") == "PublishBatch" {
		p.partOfSNS(w, r, form)
		return
	}
	var in map[string]any
	entries, _ := []any(nil), json.Unmarshal(body, &in)
	if in != nil {
		entries, _ = in["Entries"].([]any)
	}
	if len(entries) == 0 {
		status, header, text := p.forward(r, body)
		reply(w, status, header, text)
		return
	}
	out := map[string]any{}
	var header http.Header
	if len(entries) > 1 {
		in["Entries"] = entries[1:]
		rest, _ := json.Marshal(in)
		var text []byte
		_, header, text = p.forward(r, rest)
		_ = json.Unmarshal(text, &out)
	}
	failed, _ := out["Failed"].([]any)
	failure := map[string]any{"Id": entries[0].(map[string]any)["Id"], "Code": "InternalError", "Message": "as the test wants", "SenderFault": false}
	if f == stale {
		failure["Code"], failure["SenderFault"] = "ReceiptHandleIsInvalid", true
	}
	out["Failed"] = append(failed, failure)
	text, _ := json.Marshal(out)
	reply(w, http.StatusOK, header, text)
}

// partOfSNS is part for SNS, whose requests are forms and whose answers are XML.
func (p *proxy) partOfSNS(w http.ResponseWriter, r *http.Request, form url.Values) {
	const member = "PublishBatchRequestEntries.member."
	rest, first := url.Values{}, form.Get(member+"1.Id")
	for name, values := range form {
		entry, ok := strings.CutPrefix(name, member)
		if !ok {
			rest[name] = values
			continue
		}
		number, field, _ := strings.Cut(entry, ".")
		if n, _ := strconv.Atoi(number); n > 1 {
			rest[fmt.Sprint(member, n-1, ".", field)] = values
		}
	}
	header, text := http.Header{"Content-Type": {"text/xml"}}, "<PublishBatchResponse><PublishBatchResult></PublishBatchResult></PublishBatchResponse>"
	if rest.Has(member + "1.Id") {
		var answer []byte
		_, header, answer = p.forward(r, []byte(rest.Encode()))
		text = strings.NewReplacer("<Failed></Failed>", "", "<Failed/>", "").Replace(string(answer))
	}
	failed := "<Failed><member><Id>" + first + "</Id><Code>InternalError</Code><SenderFault>false</SenderFault></member></Failed></PublishBatchResult>"
	reply(w, http.StatusOK, header, []byte(strings.Replace(text, "</PublishBatchResult>", failed, 1)))
}
