package peers;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import java.time.OffsetDateTime;

/** The fields of an event that the job reads; Jackson skips the rest. */
@JsonIgnoreProperties(ignoreUnknown = true)
public record Event(
    String type, String event, String userId, String timestamp, Properties properties, Traits traits) {

  @JsonIgnoreProperties(ignoreUnknown = true)
  public record Properties(String brand, double revenue) {}

  @JsonIgnoreProperties(ignoreUnknown = true)
  public record Traits(String plan) {}

  long at() {
    return OffsetDateTime.parse(timestamp).toInstant().toEpochMilli();
  }
}
