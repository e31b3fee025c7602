import CLimbeck

/// A vector that is near: its place in the list, and its similarity.
public struct Neighbour: Sendable, Equatable {
    public let index: Int
    public let similarity: Float
}

/// The cosine of the angle between two vectors: 1 for the same direction, 0 for a right angle or a zero vector.
public func similarity(_ first: [Float], _ second: [Float]) throws -> Float {
    guard first.count == second.count else {
        throw LimbeckError(.invalidArgument, "the vectors have \(first.count) and \(second.count) floats")
    }
    var found: Float = 0
    try check { limbeck_similarity(first, second, first.count, &found, $0) }
    return found
}

/// The `k` vectors that are most similar to `query`, the nearest first.
public func nearest(to query: [Float], in vectors: [[Float]], k: Int) throws -> [Neighbour] {
    guard k >= 0 else { throw LimbeckError(.invalidArgument, "k is \(k) and must not be negative") }
    guard vectors.allSatisfy({ $0.count == query.count }) else {
        throw LimbeckError(.invalidArgument, "the vectors must have \(query.count) floats, as the query has")
    }
    let room = min(k, vectors.count)
    var (indices, similarities, found) = ([Int](repeating: 0, count: room), [Float](repeating: 0, count: room), 0)
    try check {
        limbeck_nearest(
            query, query.count, vectors.flatMap { $0 }, vectors.count, room, &indices, &similarities, &found, $0)
    }
    return (0..<found).map { Neighbour(index: indices[$0], similarity: similarities[$0]) }
}
