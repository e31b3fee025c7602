import CLimbeck

/// A place for a model that can be replaced under load: calls in flight end on the model they began with, later ones use
/// the new one, and none fails for it.
public final class Slot: @unchecked Sendable {
    private let handle: OpaquePointer

    /// Makes a slot with its first model.
    public init(_ model: Model) throws { handle = try made { limbeck_slot_new(model.handle, $0, $1) } }

    deinit { limbeck_slot_free(handle) }

    /// The model in use. Ask anew for each call, or for each piece of work that must see one model throughout.
    public func model() throws -> Model { Model(handle: try made { limbeck_slot_model(handle, $0, $1) }) }

    /// Counts up with every change of the model, from 1.
    public var generation: UInt64 { limbeck_slot_generation(handle) }

    /// Puts a model in use, if it does the task of the one before, is no older build of it, and passes its own self-test;
    /// else the model before stays. Gives the new generation.
    @discardableResult
    public func publish(_ model: Model) throws -> UInt64 {
        var generation: UInt64 = 0
        try check { limbeck_slot_publish(handle, model.handle, &generation, $0) }
        return generation
    }

    /// Goes back to the model before, which stayed in memory; going back again returns to the newer one. Gives the new
    /// generation.
    @discardableResult
    public func rollBack() throws -> UInt64 {
        var generation: UInt64 = 0
        try check { limbeck_slot_roll_back(handle, &generation, $0) }
        return generation
    }

    /// Gives the memory of the model before back, once the calls that use it have ended.
    public func forgetPrevious() { limbeck_slot_forget_previous(handle) }
}
