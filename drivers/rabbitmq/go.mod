module github.com/waybill-go/waybill/drivers/rabbitmq

go 1.26.0

require (
	github.com/rabbitmq/amqp091-go v1.16.0
	github.com/waybill-go/waybill v0.0.0
	github.com/waybill-go/waybill/testing/brokers v0.0.0
)

replace github.com/waybill-go/waybill => ../..

replace github.com/waybill-go/waybill/testing/brokers => ../../testing/brokers
