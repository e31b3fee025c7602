package io.github.limbeck

/**
 * A place for a model that can be replaced under load: calls in flight end on the model they began with, later ones use
 * the new one, and none fails for it. The models put into it live as long as it holds them, whatever is closed beside
 * it.
 *
 * @param model the first model, which also stays yours to close
 */
public class Slot(model: Model) : Handle(model.with { Reader(Native.slotNew(only(it))).long() }) {
    /** Counts up with every change of the model, from 1. */
    public val generation: Long get() = with { Reader(Native.slotGeneration(only(it))).long() }

    /** The model in use, as a handle of your own to close; see [withModel]. */
    public fun model(): Model = Model.of(with { Native.slotModel(only(it)) })

    /** Does a piece of work on the model in use, and sees that one model throughout. */
    public fun <R> withModel(work: (Model) -> R): R = model().use(work)

    /**
     * Puts a model in use, if it does the task of the one before, is no older build of it, and passes its own
     * self-test; else the model before stays. The model also stays yours to close. Gives the new [generation].
     *
     * @throws LimbeckException.WrongTask the model does another task
     * @throws LimbeckException.Untrusted the model is an older build or fails its self-test
     */
    public fun publish(model: Model): Long = with { slot ->
        model.with { Reader(Native.slotPublish(Writer().long(slot).long(it).done())).long() }
    }

    /**
     * Goes back to the model before, which stayed in memory; going back again returns to the newer one. Gives the new
     * [generation].
     *
     * @throws LimbeckException.InvalidArgument there is none
     */
    public fun rollBack(): Long = with { Reader(Native.slotRollBack(only(it))).long() }

    /** Gives the memory of the model before back, once the calls that use it have ended. */
    public fun forgetPrevious() {
        with { Native.slotForgetPrevious(only(it)) }
    }
}
