module github.com/waybill-go/waybill/middleware/throttle

go 1.26.0

require github.com/waybill-go/waybill v0.0.0

require golang.org/x/time v0.16.0

replace github.com/waybill-go/waybill => ../../
