package peers;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KeyValue;
import org.apache.kafka.streams.processor.PunctuationType;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;

/**
 * The profiles of one task, and a second store sorted by the next due time of each profile: the usual way to have
 * timers per key in Kafka Streams. Timers due before an event of their profile are evaluated before that event.
 */
final class Segmenter implements Processor<String, Event, String, Change> {
  static final String PROFILES = "profiles";
  static final String DUE = "due";

  /** Interval of scans of the due store, in stream time. In a replay an hour passes within milliseconds. */
  private static final Duration LOOK = Duration.ofHours(1);

  private static final byte[] NOTHING = new byte[0];

  private ProcessorContext<String, Change> context;
  private KeyValueStore<String, Profile> profiles;
  private KeyValueStore<Bytes, byte[]> due;

  /** All timers due by this instant have been evaluated. */
  private long passed;

  @Override
  public void init(ProcessorContext<String, Change> context) {
    this.context = context;
    profiles = context.getStateStore(PROFILES);
    due = context.getStateStore(DUE);
    context.schedule(LOOK, PunctuationType.STREAM_TIME, this::passTime);
  }

  @Override
  public void process(Record<String, Event> record) {
    String user = record.key();
    long at = record.value().at();
    Profile profile = profiles.get(user);
    if (profile == null) {
      profile = new Profile();
    }
    Long waiting = profile.due;
    catchUp(user, profile, at);
    profile.apply(record.value(), at);
    publish(user, profile, profile.evaluate(at), at);
    settle(user, profile, waiting, at);
  }

  /** Evaluates the timers that are due by stream time. */
  private void passTime(long now) {
    List<Bytes> found = new ArrayList<>();
    // Not from the beginning: RocksDB would scan all tombstones there.
    try (var range = due.range(edge(passed), edge(now + 1))) {
      while (range.hasNext()) {
        found.add(range.next().key);
      }
    }
    for (Bytes key : found) {
      String user = new String(key.get(), 8, key.get().length - 8, StandardCharsets.UTF_8);
      Profile profile = profiles.get(user);
      Long waiting = profile.due;
      catchUp(user, profile, now);
      settle(user, profile, waiting, now);
    }
    passed = now;
  }

  private static Bytes edge(long at) {
    return Bytes.wrap(ByteBuffer.allocate(8).putLong(at).array());
  }

  /** Evaluates every edge up to {@code now} separately, in order. */
  private void catchUp(String user, Profile profile, long now) {
    while (profile.due != null && profile.due <= now) {
      long at = profile.due;
      publish(user, profile, profile.evaluate(at), at);
      profile.due = next(profile, at);
    }
  }

  /** Stores the profile, and moves its entry in the due store if its next due time has changed. */
  private void settle(String user, Profile profile, Long waiting, long at) {
    profile.due = next(profile, at);
    if (waiting != null && !waiting.equals(profile.due)) {
      due.delete(dueKey(waiting, user));
    }
    if (profile.due != null && !profile.due.equals(waiting)) {
      due.put(dueKey(profile.due, user), NOTHING);
    }
    profiles.put(user, profile);
  }

  private static Long next(Profile profile, long at) {
    long edge = profile.nextEdge(at);
    return edge == Long.MAX_VALUE ? null : edge;
  }

  private void publish(String user, Profile profile, int changed, long at) {
    for (int place = 0; changed != 0; place++, changed >>>= 1) {
      if ((changed & 1) != 0) {
        String action = (profile.memberOf >>> place & 1) != 0 ? "entered" : "exited";
        context.forward(new Record<>(user, new Change(user, Profile.SEGMENTS[place], action, at), at));
      }
    }
  }

  /** Big-endian, so that the store is ordered by time. */
  private static Bytes dueKey(long at, String user) {
    byte[] name = user.getBytes(StandardCharsets.UTF_8);
    return Bytes.wrap(ByteBuffer.allocate(8 + name.length).putLong(at).put(name).array());
  }
}
