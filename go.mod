module github.com/waybill-go/waybill

go 1.26.0
