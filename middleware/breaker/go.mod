module github.com/waybill-go/waybill/middleware/breaker

go 1.26.0

require github.com/waybill-go/waybill v0.0.0

require github.com/sony/gobreaker/v2 v2.4.0

replace github.com/waybill-go/waybill => ../../
