// Writes on from a prompt, as it is written.
//
//   GenerateKt BUNDLE ONNXRUNTIME_LIBRARY "prompt"
//
// For a bundle of the task "generation".

import io.github.limbeck.ContextPolicy
import io.github.limbeck.Environment
import io.github.limbeck.GenerateOptions
import io.github.limbeck.LimbeckException
import io.github.limbeck.Model
import io.github.limbeck.suspending
import kotlin.system.exitProcess
import kotlinx.coroutines.runBlocking

fun main(args: Array<String>) {
    if (args.size != 3) {
        System.err.println("usage: GenerateKt BUNDLE ONNXRUNTIME_LIBRARY \"prompt\"")
        exitProcess(2)
    }
    try {
        Model.open(Environment(args[1]), args[0]).use { model ->
            // At most 128 tokens, or as many as the context has room for.
            val options = GenerateOptions.of { context(ContextPolicy.STOP) }
            // In an app this is a coroutine of a screen: when the screen goes, the call ends. `stream` gives the same
            // tokens as a flow.
            val found = runBlocking {
                model.suspending().generate(args[2], options) { piece ->
                    print(piece.text)
                    System.out.flush()
                    true
                }
            }
            val seconds = (found.prefillNanos + found.decodeNanos + found.samplingNanos) / 1e9
            val rate = found.generatedTokens / seconds
            println("\n%d tokens, %s, %.0f tokens a second".format(found.generatedTokens, found.finish, rate))
        }
    } catch (failure: LimbeckException) {
        System.err.println(failure.message)
        exitProcess(1)
    }
}
