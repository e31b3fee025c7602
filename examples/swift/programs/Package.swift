// swift-tools-version:5.9
// The examples; bindings/swift/README.md says how to run them. In a folder of its own, because SwiftPM tells packages
// apart by the names of their folders.

import PackageDescription

let names = ["Sentiment", "Entities", "Answer", "Similarity", "Generate", "HotSwap"]

let package = Package(
    name: "limbeck-examples",
    platforms: [.iOS(.v15), .macOS(.v13)],
    dependencies: [.package(path: "../../../bindings/swift")],
    targets: names.map {
        .executableTarget(name: $0, dependencies: [.product(name: "Limbeck", package: "swift")])
    }
)
