package peers;

import com.fasterxml.jackson.annotation.JsonProperty;

/** A membership change as it is published. */
public record Change(
    @JsonProperty("profile_id") String profileId, String segment, String action, long at) {}
