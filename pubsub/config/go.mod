module github.com/waybill-go/waybill/pubsub/config

go 1.26.0

require (
	github.com/waybill-go/waybill v0.0.0
	go.yaml.in/yaml/v4 v4.0.0
)

require github.com/google/jsonschema-go v0.4.3

replace github.com/waybill-go/waybill => ../..
