package peers;

import com.fasterxml.jackson.annotation.JsonProperty;

/** A published membership change. */
public record Change(
    @JsonProperty("profile_id") String profileId, String segment, String action, long at) {}
