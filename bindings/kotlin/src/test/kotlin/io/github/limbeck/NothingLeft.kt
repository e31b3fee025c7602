package io.github.limbeck

import java.util.concurrent.TimeUnit
import org.junit.jupiter.api.extension.AfterAllCallback
import org.junit.jupiter.api.extension.ExtensionContext

/** After each class of tests: it left no handle open. JUnit finds it by its name in `META-INF/services`. */
class NothingLeft : AfterAllCallback {
    override fun afterAll(context: ExtensionContext) {
        Fixtures.close()
        val deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(30)
        while (Limbeck.openHandles > 0 && System.nanoTime() < deadline) {
            // What was forgotten is given back when the collector has found it and one more was made.
            System.gc()
            Thread.sleep(10)
            Cancel().close()
        }
        check(Limbeck.openHandles == 0L) { "${context.displayName} left ${Limbeck.openHandles} handles open" }
    }
}
