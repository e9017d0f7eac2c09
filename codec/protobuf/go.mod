module github.com/waybill-go/waybill/codec/protobuf

go 1.26.0

require (
	github.com/waybill-go/waybill v0.0.0
	google.golang.org/protobuf v1.36.12
)

replace github.com/waybill-go/waybill => ../../
