/// The tokens of a text as they are written. Each loop over it makes a call of its own, which begins with the loop:
///
///     for try await piece in model.concurrent.stream("Once upon") { print(piece.text, terminator: "") }
///
/// When the loop is left, or its task is cancelled, the call ends within a token; a cancelled loop throws
/// `CancellationError`. The model does not wait for a slow loop: tokens that were not taken yet are kept, at most
/// `GenerateOptions.maxNewTokens`.
public struct Pieces: AsyncSequence, Sendable {
    public typealias Element = Piece

    /// Makes the call, and gives its function each token.
    let generate: @Sendable (@escaping @Sendable (Piece) -> Bool) async throws -> Void

    public func makeAsyncIterator() -> Iterator {
        let generate = self.generate
        return Iterator(stream: AsyncThrowingStream { continuation in
            let task = Task {
                do {
                    try await generate { piece in
                        if case .terminated = continuation.yield(piece) { return false }
                        return true
                    }
                    continuation.finish()
                } catch {
                    continuation.finish(throwing: error)
                }
            }
            continuation.onTermination = { _ in task.cancel() }
        })
    }

    public struct Iterator: AsyncIteratorProtocol {
        private var tokens: AsyncThrowingStream<Piece, Error>.Iterator

        init(stream: AsyncThrowingStream<Piece, Error>) { tokens = stream.makeAsyncIterator() }

        public mutating func next() async throws -> Piece? {
            let piece = try await tokens.next()
            // To a cancelled task the stream looks as if the text had ended.
            try Task.checkCancellation()
            return piece
        }
    }
}
