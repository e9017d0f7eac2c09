// Package gcppubsub connects Waybill to Google Cloud Pub/Sub, through the client
// beneath Google's high-level one (cloud.google.com/go/pubsub/v2/apiv1).
//
// # URLs
//
//	gcppubsub://PROJECT            the project's Pub/Sub
//	gcppubsub://                   the project of GOOGLE_CLOUD_PROJECT, or of the credentials
//	emulator=HOST:PORT             Google's emulator; so does PUBSUB_EMULATOR_HOST
//	endpoint=HOST:PORT             another endpoint, such as a region's
//	universe=DOMAIN                another universe than googleapis.com
//	exactly-once=true              subscriptions are made with exactly-once delivery
//	lease=30s                      the ack deadline of subscriptions that ask for none
//	project=PROJECT                for a project whose name is no host, as example.com:shop
//
// Credentials are found in Google's usual ways (GOOGLE_APPLICATION_CREDENTIALS,
// gcloud's, the machine's); Config takes any other option.ClientOption.
//
// # Semantics
//
// A topic is a topic, a group is the subscription TOPIC.GROUP, a queue's only group is
// the subscription TOPIC. Names that Google does not take are escaped (see Name); the
// settings Topic and Subscription name others. Labels of the topic say what it was made
// as, so a mismatch fails when it is opened. A broadcast subscription is temporary: it
// is deleted when its session ends, and expires after a day otherwise.
//
// On an ordered topic Key is the ordering key, with one Publish request at a time for
// each key, since Google may store a later request of a key and not the earlier one. On
// other topics Key is an attribute: there it needs no order, and Google would take one
// key a request.
//
// A delivery's lease is its ack deadline: 30 s, or 1 s to 600 s with pubsub.Lease. A
// broken stream is opened again by itself: acknowledgement ids outlive it. A message that
// comes again while it is held here renews its lease, and does not reach a second handler.
//
// Without exactly-once delivery settlements are Sent, not Confirmed. Attempts are those
// that this process saw fail, so at most what they were; on a subscription with a native
// dead letter after so many attempts they are Google's own count, which is approximate.
//
// A retry is delayed by its ack deadline, in whole seconds up to 600; the engine holds
// what is shorter or longer, and on ordered topics whatever has a key.
//
// NativeDeadLetter with attempts (5 to 100) is a dead-letter policy, which Google carries
// out as service-PROJECT-NUMBER@gcp-sa-pubsub.iam.gserviceaccount.com: that account needs
// roles/pubsub.publisher on the dead-letter topic and roles/pubsub.subscriber on the
// subscription. Without attempts the driver moves a message that failed permanently:
// it is published there, and acknowledged once that was confirmed.
//
// Delivery.Raw is a *pubsubpb.ReceivedMessage, whose data and attributes are the
// delivery's own.
package gcppubsub
