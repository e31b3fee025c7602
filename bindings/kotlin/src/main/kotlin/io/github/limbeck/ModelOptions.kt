package io.github.limbeck

/**
 * How a model is to run.
 *
 * @property threads threads that one call may use inside an operator, up to 256. 1: the call runs on the thread that
 *   makes it, and no other is started. 0: as the [Environment] says, or else 1
 * @property sessions calls that can run at one time, up to 256, each with working memory of its own; made when first
 *   needed. 0: one. A batch call spreads over all, on threads that end with the call
 * @property spinning whether idle threads of a call spin, which is faster on an idle machine, slower on a busy one, and
 *   costs power
 * @property memoryBudget the most private memory, in bytes, that the model may use with all sessions at work on the
 *   longest texts: kept by smaller batches, fewer sessions and slower weights, or else
 *   [LimbeckException.MemoryBudget]. 0: no limit
 * @property providers backends to use, the best first: "cpu", "xnnpack", "nnapi", "coreml", "qnn", "cuda". What cannot
 *   be had is no error: see [Model.providers]. Empty: the CPU, which is always the last resort
 * @property bundle what must hold for the bundle, where the model is opened from a file
 */
public class ModelOptions @JvmOverloads constructor(
    public val threads: Int = 0,
    public val sessions: Int = 0,
    public val spinning: Boolean = false,
    public val memoryBudget: Long = 0,
    public val providers: List<String> = emptyList(),
    public val bundle: BundleOptions = BundleOptions(),
)
