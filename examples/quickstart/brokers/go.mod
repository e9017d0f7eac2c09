module github.com/waybill-go/waybill/examples/quickstart/brokers

go 1.26.0

require github.com/waybill-go/waybill v0.0.0

replace github.com/waybill-go/waybill => ../../../
