package peers;

import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.state.Stores;

/**
 * The job on Kafka Streams: the Processor API on two RocksDB stores with changelogs, both cached as the documentation
 * advises (one write per key and commit), and otherwise the defaults: at_least_once, one stream thread.
 */
public final class Main {
  private Main() {}

  public static void main(String[] args) throws InterruptedException {
    var config = new Properties();
    config.put(StreamsConfig.APPLICATION_ID_CONFIG, System.getenv("PEER_NAME"));
    config.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, System.getenv("PEER_BROKERS"));
    config.put(StreamsConfig.STATE_DIR_CONFIG, "state");
    config.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
    // More than the default of 10 MB: room for the busy profiles.
    config.put(StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, 64L << 20);
    var streams = new KafkaStreams(topology(), config);
    var stopped = new CountDownLatch(1);
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  streams.close();
                  stopped.countDown();
                }));
    streams.start();
    stopped.await();
  }

  private static Topology topology() {
    var builder = new StreamsBuilder();
    builder.addStateStore(
        Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore(Segmenter.PROFILES),
                Serdes.String(),
                Json.serde(Profile.class))
            .withCachingEnabled());
    builder.addStateStore(
        Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore(Segmenter.DUE), Serdes.Bytes(), Serdes.ByteArray())
            .withCachingEnabled());
    builder.stream(
            System.getenv("PEER_INPUT"), Consumed.with(Serdes.String(), Json.serde(Event.class)))
        .process(Segmenter::new, Segmenter.PROFILES, Segmenter.DUE)
        .to(
            System.getenv("PEER_OUTPUT"),
            Produced.with(Serdes.String(), Json.serde(Change.class)));
    return builder.build();
  }
}
