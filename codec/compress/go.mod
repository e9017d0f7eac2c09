module github.com/waybill-go/waybill/codec/compress

go 1.26.0

require (
	github.com/klauspost/compress v1.20.4
	github.com/waybill-go/waybill v0.0.0
)

replace github.com/waybill-go/waybill => ../../
