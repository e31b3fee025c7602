package io.github.limbeck

import java.lang.ref.PhantomReference
import java.lang.ref.ReferenceQueue
import java.util.Collections
import java.util.concurrent.ConcurrentHashMap

/**
 * Something that the native library holds until [close]. May be used and closed from any thread; to close twice is
 * allowed, to use it afterwards is [LimbeckException.InvalidArgument]. A call that runs while another thread closes
 * what it uses ends undisturbed.
 *
 * What is forgotten without [close] is given back when the garbage collector has found it and the next handle is
 * made; do not rely on that for memory that counts.
 */
public abstract class Handle internal constructor(private val number: Long) : AutoCloseable {
    private val open = Open(this, number)

    @Volatile
    private var calls = 0

    init {
        sweep()
    }

    /** Gives back what the native library holds. */
    override fun close() {
        if (live.remove(open)) Native.close(number)
    }

    /** Runs a call with the number of this handle, which stays reachable until the call has ended. */
    internal fun <R> with(call: (Long) -> R): R = try {
        call(number)
    } finally {
        calls = 0
    }

    private class Open(owner: Handle, val number: Long) : PhantomReference<Handle>(owner, forgotten) {
        init {
            live.add(this)
        }
    }

    private companion object {
        val live: MutableSet<Open> = Collections.newSetFromMap(ConcurrentHashMap())
        val forgotten = ReferenceQueue<Handle>()

        fun sweep() {
            while (true) {
                val open = forgotten.poll() as Open? ?: return
                if (live.remove(open)) Native.close(open.number)
            }
        }
    }
}
