package io.github.limbeck

/**
 * Ends calls from another thread: give it to a call in [CallOptions], and trigger it while the call runs. It stays
 * triggered, so calls given it later end at once; make a new one for new work. May be given to many calls.
 */
public class Cancel : Handle(Native.ready().cancelNew()) {
    private val followers = mutableSetOf<Cancel>()

    /** Whether it was triggered. */
    @Volatile
    public var isTriggered: Boolean = false
        private set

    /**
     * Ends the calls that were given this token, now and later: they throw [LimbeckException.Cancelled], one that runs
     * stops within the operator it is at. Does not wait.
     */
    public fun trigger() {
        with { Native.cancelTrigger(it) }
        synchronized(followers) {
            isTriggered = true
            followers.forEach { it.trigger() }
        }
    }

    /** Triggers [other] with this one while [block] runs. */
    internal inline fun <R> leading(other: Cancel, block: () -> R): R {
        synchronized(followers) {
            followers.add(other)
            if (isTriggered) other.trigger()
        }
        return try {
            block()
        } finally {
            synchronized(followers) { followers.remove(other) }
        }
    }
}
