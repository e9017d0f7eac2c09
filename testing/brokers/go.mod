module github.com/waybill-go/waybill/testing/brokers

go 1.26.0
