module github.com/waybill-go/waybill/codec/avro

go 1.26.0

require (
	github.com/twmb/avro v1.9.0
	github.com/twmb/franz-go/pkg/sr v1.8.0
	github.com/waybill-go/waybill v0.0.0
	github.com/waybill-go/waybill/codec/compress v0.0.0-00010101000000-000000000000
)

require github.com/klauspost/compress v1.20.4 // indirect

replace github.com/waybill-go/waybill => ../../

replace github.com/waybill-go/waybill/codec/compress => ../compress
