// Classifies texts from standard input while a newer model replaces the one in use: no call
// fails for it, and a candidate that is worse is refused.
//
//   HotSwapKt BUNDLE ONNXRUNTIME_LIBRARY NEWER_BUNDLE < texts
//
// One text a line; the newer bundle is tried after the first one.

import io.github.limbeck.Environment
import io.github.limbeck.LimbeckException
import io.github.limbeck.Model
import io.github.limbeck.Slot
import kotlin.system.exitProcess

fun main(args: Array<String>) {
    if (args.size != 3) {
        System.err.println("usage: HotSwapKt BUNDLE ONNXRUNTIME_LIBRARY NEWER_BUNDLE < texts")
        exitProcess(2)
    }
    try {
        val environment = Environment(args[1])
        Model.open(environment, args[0]).use(::Slot).use { slot ->
            generateSequence(::readlnOrNull).forEachIndexed { number, line ->
                val best = slot.withModel { it.classify(line) }.best // on the model that is in use at this moment
                println("model ${slot.generation}: ${best.label}  ${best.probability}  $line")
                if (number != 0) return@forEachIndexed
                try {
                    // A candidate that cannot be opened, does another task, is older, or fails its own
                    // self-test is told, and the model in use stays.
                    Model.open(environment, args[2]).use { slot.publish(it) }
                } catch (failure: LimbeckException) {
                    println("not replaced: ${failure.message}")
                }
            }
        }
    } catch (failure: LimbeckException) {
        System.err.println(failure.message)
        exitProcess(1)
    }
}
