package io.github.limbeck.sample

import android.os.Bundle as State
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.TextView
import androidx.activity.ComponentActivity
import androidx.core.widget.doAfterTextChanged
import androidx.lifecycle.lifecycleScope
import io.github.limbeck.Bundle
import io.github.limbeck.Environment
import io.github.limbeck.LimbeckException
import io.github.limbeck.Model
import io.github.limbeck.suspending
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/** Says what a text is while one types it. */
class MainActivity : ComponentActivity() {
    private lateinit var answer: TextView
    private var model: Model? = null
    private var call: Job? = null

    override fun onCreate(state: State?) {
        super.onCreate(state)
        answer = TextView(this)
        val input = EditText(this).apply { doAfterTextChanged { classify(it.toString()) } }
        setContentView(LinearLayout(this).apply {
            orientation = LinearLayout.VERTICAL
            addView(input)
            addView(answer)
        })
        lifecycleScope.launch {
            try {
                // Opening verifies all of the bundle and cannot be interrupted: not on the main thread.
                model = withContext(Dispatchers.Default) { open() }
                classify(input.text.toString())
            } catch (failure: LimbeckException) {
                answer.text = failure.message
            }
        }
    }

    /** The model of an asset, opened where it lies in the package. */
    private fun open(): Model {
        val environment = Environment("libonnxruntime.so")
        return assets.openFd("sentiment.limbeck").use { asset ->
            val descriptor = asset.parcelFileDescriptor.fd
            Bundle.openDescriptor(descriptor, asset.startOffset, asset.length).use { Model.open(environment, it) }
        }
    }

    /** A new text ends the call for the one before. */
    private fun classify(text: String) {
        val model = model ?: return
        call?.cancel()
        call = lifecycleScope.launch {
            answer.text = try {
                val best = model.suspending().classify(text).best
                "%s  %.3f".format(best.label, best.probability)
            } catch (failure: LimbeckException) {
                failure.message
            }
        }
    }

    override fun onDestroy() {
        super.onDestroy()
        // Calls that still run end undisturbed.
        model?.close()
    }
}
