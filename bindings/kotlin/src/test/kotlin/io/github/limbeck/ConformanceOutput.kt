package io.github.limbeck

import com.google.gson.JsonArray
import com.google.gson.JsonElement
import com.google.gson.JsonObject
import com.google.gson.JsonPrimitive
import kotlin.math.abs

// What comes out, in the form of limbeck_result_json.

internal fun json(value: Any): JsonElement = when (value) {
    is JsonElement -> value
    is String -> JsonPrimitive(value)
    is Number -> JsonPrimitive(value)
    is Boolean -> JsonPrimitive(value)
    else -> error("$value")
}

internal fun obj(vararg fields: Pair<String, Any>): JsonObject =
    JsonObject().apply { fields.forEach { (name, value) -> add(name, json(value)) } }

internal fun <T> array(values: List<T>, form: (T) -> JsonElement): JsonArray =
    JsonArray().apply { values.forEach { add(form(it)) } }

internal fun <T> results(found: List<T>, form: (T) -> JsonElement): JsonObject = obj("results" to array(found, form))

internal fun used(usage: Usage, vararg fields: Pair<String, Any>): JsonObject = obj(
    *fields,
    "tokens_used" to usage.tokensUsed,
    "tokens_dropped" to usage.tokensDropped,
    "windows" to usage.windows,
)

internal fun classification(found: Classification): JsonElement {
    val all = array(found.labels) {
        obj(
            "label" to it.label,
            "index" to it.index,
            "probability" to it.probability,
            "logit" to it.logit,
            "holds" to it.holds,
        )
    }
    return used(found.usage, "labels" to all, "in_scope" to found.inScope)
}

internal fun replaced(piece: Replaced): JsonElement =
    obj("probability" to piece.probability, "span" to span(piece.span), "text" to piece.text)

internal fun span(span: Span): JsonElement = obj("utf16" to array(listOf(span.start, span.end), ::json))

internal fun error(failure: LimbeckException): JsonElement =
    obj("status" to failure.status.cName, "message" to failure.message.orEmpty())

/** What differs; empty if nothing does. */
internal fun difference(expected: JsonElement, found: JsonElement, tolerance: Double): String {
    val differs = ": expected $expected, found $found"
    return when {
        expected.isNumber() && found.isNumber() -> if (abs(expected.asDouble - found.asDouble) <= tolerance) "" else differs
        // The parts of a message.
        expected.isJsonArray && found.isJsonPrimitive ->
            expected.asJsonArray.map { it.asString }.find { it !in found.asString }?.let { ": $found has no $it" }.orEmpty()
        expected.isJsonArray && found.isJsonArray -> {
            val (all, those) = expected.asJsonArray.toList() to found.asJsonArray.toList()
            if (all.size != those.size) return differs
            all.zip(those).withIndex().firstNotNullOfOrNull { (index, pair) ->
                difference(pair.first, pair.second, tolerance).takeIf { it != "" }?.let { "[$index]$it" }
            }.orEmpty()
        }
        expected.isJsonObject && found.isJsonObject -> {
            // Of a span only what this language counts in.
            val names = expected.asJsonObject.keySet().let { if ("utf16" in it) setOf("utf16") else it }
            if (names != found.asJsonObject.keySet()) return differs
            names.firstNotNullOfOrNull { name ->
                difference(expected.asJsonObject[name], found.asJsonObject[name], tolerance).takeIf { it != "" }
                    ?.let { ".$name$it" }
            }.orEmpty()
        }
        else -> if (expected == found) "" else differs
    }
}

private fun JsonElement.isNumber() = isJsonPrimitive && asJsonPrimitive.isNumber
