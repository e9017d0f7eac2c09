package main

// The drivers that a file may name.
import (
	_ "github.com/waybill-go/waybill/drivers/gcppubsub"
	_ "github.com/waybill-go/waybill/drivers/gocloud"
	_ "github.com/waybill-go/waybill/drivers/kafka"
	_ "github.com/waybill-go/waybill/drivers/memory"
	_ "github.com/waybill-go/waybill/drivers/rabbitmq"
	_ "github.com/waybill-go/waybill/drivers/snssqs"
	_ "gocloud.dev/pubsub/azuresb"
)
