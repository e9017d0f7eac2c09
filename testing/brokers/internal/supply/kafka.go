package supply

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/waybill-go/waybill/testing/brokers/internal/recipe"
)

// kafkaVersion is the newest that was tried.
const kafkaVersion = "4.3.1"

// pom lists Kafka's server and tools, and a logger of the age of theirs.
const pom = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>waybill</groupId><artifactId>kafka</artifactId><version>1</version>
  <dependencies>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>%[1]s</version></dependency>
    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>%[1]s</version></dependency>
    <dependency><groupId>org.slf4j</groupId><artifactId>slf4j-simple</artifactId><version>1.7.36</version></dependency>
  </dependencies>
</project>
`

func (i *Installer) kafka(ctx context.Context, cache string, want recipe.Want) error {
	if !want.Suits(kafkaVersion) {
		return fmt.Errorf("only Kafka %s is fetched", kafkaVersion)
	}
	if err := i.need(ctx, "java", "default-jre-headless"); err != nil {
		return err
	}
	final := filepath.Join(cache, "kafka-"+kafkaVersion)
	if _, err := recipe.Find(want); err == nil {
		return nil // only Java was missing
	}
	if err := i.need(ctx, "mvn", "maven"); err != nil {
		return err
	}
	i.say("%s: Kafka %s and what it needs by Maven, 54 MB", want, kafkaVersion)
	partial := final + ".partial"
	if err := os.RemoveAll(partial); err != nil {
		return err
	}
	if err := os.MkdirAll(partial, 0o755); err != nil { //nolint:gosec // a cache of public things
		return err
	}
	file := filepath.Join(partial, "pom.xml")
	if err := os.WriteFile(file, fmt.Appendf(nil, pom, kafkaVersion), 0o600); err != nil {
		return err
	}
	err := i.run(ctx, nil, "mvn", "-q", "-B", "--strict-checksums", "-f", file, "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies",
		"-DincludeScope=runtime", "-DoutputDirectory="+filepath.Join(partial, "libs"))
	if err != nil {
		return err
	}
	return finish(partial, final)
}
