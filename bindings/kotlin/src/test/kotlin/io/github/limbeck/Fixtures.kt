package io.github.limbeck

import java.io.File

/** Where the tests find what they need; the build sets both. */
internal object Fixtures {
    val cases = File(property("limbeck.cases"))

    /** One for all tests: a process has one ONNX Runtime. */
    val environment: Environment by lazy { Environment(property("limbeck.runtime")) }

    private val models = mutableMapOf<String, Model>()

    fun bundle(name: String) = File(cases, "bundles/$name.limbeck")

    /** A model that stays open. */
    @Synchronized
    fun model(file: File): Model = models.getOrPut(file.canonicalPath) { Model.open(environment, file) }

    fun model(name: String): Model = model(bundle(name))

    /** Closes the models that stayed open. */
    @Synchronized
    fun close() {
        models.values.forEach(Model::close)
        models.clear()
    }

    fun property(name: String): String =
        System.getProperty(name)?.takeIf { it.isNotEmpty() && !it.startsWith("\${") }
            ?: error("the system property $name is not set: run the tests by `cargo xtask test --filter jvm`")
}
