package snssqs

import (
	"bytes"
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/sns/types"
)

// words is a string or a list of them, as policies have it.
type words []string

func (w *words) UnmarshalJSON(text []byte) error {
	list, err := oneOrMore[any](text)
	for _, word := range list {
		if s, ok := word.(string); ok {
			*w = append(*w, s)
		} else { // of a condition: true or 3600
			one, _ := json.Marshal(word) //nolint:errchkjson // was JSON before
			*w = append(*w, string(one))
		}
	}
	return err
}

// oneOrMore reads a list that may be left out around its one element.
func oneOrMore[T any](text []byte) (list []T, err error) {
	if bytes.HasPrefix(bytes.TrimSpace(text), []byte("[")) {
		err = json.Unmarshal(text, &list)
	} else {
		list = make([]T, 1)
		err = json.Unmarshal(text, &list[0])
	}
	return list, err
}

type statements []statement

func (s *statements) UnmarshalJSON(text []byte) (err error) {
	*s, err = oneOrMore[statement](text)
	return err
}

// matches says whether a word, perhaps with wildcards, means s.
func (w words) matches(s string) bool {
	return slices.ContainsFunc(w, func(pattern string) bool {
		// Colons and slashes are nothing special to a policy's wildcards.
		flat := strings.NewReplacer("/", ":")
		ok, err := path.Match(strings.ToLower(flat.Replace(pattern)), strings.ToLower(flat.Replace(s)))
		return err == nil && ok
	})
}

type statement struct {
	Effect    string
	Principal any
	Action    words
	Resource  words
	Condition map[string]map[string]words
}

// policyFor lets a topic send to a queue.
func policyFor(queueARN, topicARN string) string {
	text, _ := json.Marshal(map[string]any{ //nolint:errchkjson // strings
		"Version": "2012-10-17",
		"Statement": []any{map[string]any{
			"Sid": "waybill", "Effect": "Allow", "Principal": map[string]string{"Service": "sns.amazonaws.com"},
			"Action": "sqs:SendMessage", "Resource": queueARN,
			"Condition": map[string]any{"ArnEquals": map[string]string{"aws:SourceArn": topicARN}},
		}},
	})
	return string(text)
}

// lets says whether a policy lets a topic send to a queue, as far as a reader of it
// can tell: conditions other than on the source count as met where they allow, and
// as not met where they deny.
func lets(policy, queueARN, topicARN string) bool {
	var p struct{ Statement statements }
	if json.Unmarshal([]byte(policy), &p) != nil {
		return false
	}
	allowed := false
	for _, s := range p.Statement {
		if !s.Action.matches("sqs:SendMessage") || len(s.Resource) > 0 && !s.Resource.matches(queueARN) || !isSNS(s.Principal) {
			continue
		}
		from, other := s.from(topicARN)
		switch {
		case s.Effect == "Allow" && from:
			allowed = true
		case s.Effect == "Deny" && from && !other:
			return false
		}
	}
	return allowed
}

func isSNS(principal any) bool {
	switch p := principal.(type) {
	case string:
		return p == "*"
	case map[string]any:
		for kind, who := range p {
			text, _ := json.Marshal(who) //nolint:errchkjson // was JSON before
			var w words
			if json.Unmarshal(text, &w) == nil && (kind == "Service" && w.matches("sns.amazonaws.com") || kind == "AWS" && slices.Contains(w, "*")) {
				return true
			}
		}
	}
	return false
}

// from says whether the conditions on the source are met by a topic, and whether
// there are others.
func (s *statement) from(topicARN string) (met, others bool) {
	for operator, keys := range s.Condition {
		for key, values := range keys {
			positive := slices.Contains([]string{"arnequals", "arnlike", "stringequals", "stringlike"}, strings.ToLower(operator))
			switch k := strings.ToLower(key); {
			case positive && k == "aws:sourcearn" && !values.matches(topicARN):
				return false, others
			case positive && (k == "aws:sourceaccount" || k == "aws:sourceowner") && !values.matches(strings.Split(topicARN, ":")[4]):
				return false, others
			case !positive || k != "aws:sourcearn" && k != "aws:sourceaccount" && k != "aws:sourceowner":
				others = true
			}
		}
	}
	return true, others
}

func topicTags(tags map[string]string) []types.Tag {
	var list []types.Tag
	for k, v := range tags {
		list = append(list, types.Tag{Key: aws.String(k), Value: aws.String(v)})
	}
	return list
}
