package peers;

import java.util.ArrayList;
import java.util.List;

/**
 * Only the state that the ten segments need: "at least 5 in 7 days" needs the times of the latest 5. The rules are
 * those of apps/shop.py and of the segment files.
 */
public final class Profile {
  private static final long DAY = 86_400_000L;
  static final String[] SEGMENTS = {
    "high-intent", "window-shopper", "brand-fan", "active-browser", "cart-abandoned",
    "frequent-buyer", "big-spender", "recent-buyer", "lapsed", "premium"
  };

  public record Order(long at, long cents) {}

  public List<Long> views = new ArrayList<>();
  public List<Long> acme = new ArrayList<>();
  public List<Long> pages = new ArrayList<>();
  public List<Order> orders = new ArrayList<>();
  public Long added;
  public Long ordered;
  public String plan;

  /** One bit for each segment of which the profile is a member. */
  public int memberOf;

  /** The due time in the due store, if any. */
  public Long due;

  void apply(Event event, long at) {
    switch (event.type()) {
      case "identify" -> plan = event.traits().plan() != null ? event.traits().plan() : plan;
      case "page" -> keep(pages, at, 5);
      case "track" -> track(event, at);
      default -> {}
    }
  }

  private void track(Event event, long at) {
    switch (event.event()) {
      case "Product Viewed" -> {
        keep(views, at, 5);
        if ("Acme".equals(event.properties().brand())) {
          keep(acme, at, 2);
        }
      }
      case "Product Added" -> added = at;
      case "Order Completed" -> {
        ordered = at;
        orders.add(new Order(at, Math.round(event.properties().revenue() * 100)));
      }
      default -> {}
    }
  }

  private static void keep(List<Long> times, long at, int most) {
    if (times.size() == most) {
      times.remove(0);
    }
    times.add(at);
  }

  /** Brings the memberships up to date and returns a bit for each one that changed. */
  int evaluate(long at) {
    orders.removeIf(order -> order.at() <= at - 30 * DAY);
    int before = memberOf;
    memberOf = members(at);
    return before ^ memberOf;
  }

  private int members(long at) {
    long since = ordered == null ? Long.MAX_VALUE : at - ordered;
    long spent = 0;
    for (Order order : orders) {
      spent += order.cents();
    }
    int found = 0;
    found |= bit(0, times(views, 3, 2 * DAY, at) && since >= 2 * DAY);
    found |= bit(1, ordered == null && times(views, 5, 7 * DAY, at));
    found |= bit(2, times(acme, 2, 7 * DAY, at));
    found |= bit(3, times(pages, 5, 7 * DAY, at));
    found |= bit(4, added != null && at - added < DAY && since >= DAY);
    found |= bit(5, orders.size() >= 2);
    found |= bit(6, spent >= 50_000);
    found |= bit(7, since < 7 * DAY);
    found |= bit(8, ordered != null && since >= 30 * DAY);
    found |= bit(9, "gold".equals(plan) || "platinum".equals(plan));
    return found;
  }

  private static int bit(int place, boolean holds) {
    return holds ? 1 << place : 0;
  }

  private static boolean times(List<Long> times, int least, long window, long at) {
    return times.size() >= least && at - times.get(times.size() - least) < window;
  }

  /** Returns the next instant after {@code at} at which time alone may change a membership, or Long.MAX_VALUE. */
  long nextEdge(long at) {
    long edge = Long.MAX_VALUE;
    edge = sooner(edge, leaves(views, 3, 2 * DAY), at);
    edge = sooner(edge, leaves(views, 5, 7 * DAY), at);
    edge = sooner(edge, leaves(acme, 2, 7 * DAY), at);
    edge = sooner(edge, leaves(pages, 5, 7 * DAY), at);
    if (added != null) {
      edge = sooner(edge, added + DAY, at);
    }
    if (ordered != null) {
      edge = sooner(edge, ordered + DAY, at);
      edge = sooner(edge, ordered + 2 * DAY, at);
      edge = sooner(edge, ordered + 7 * DAY, at);
      edge = sooner(edge, ordered + 30 * DAY, at);
    }
    for (Order order : orders) {
      edge = sooner(edge, order.at() + 30 * DAY, at);
    }
    return edge;
  }

  private static long leaves(List<Long> times, int least, long window) {
    return times.size() >= least ? times.get(times.size() - least) + window : Long.MIN_VALUE;
  }

  private static long sooner(long edge, long other, long at) {
    return other > at && other < edge ? other : edge;
  }
}
