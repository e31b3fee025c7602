// swift-tools-version:5.9
// limbeck for Swift. On Apple's systems the C library is Limbeck.xcframework, made by capi/packaging/xcframework.sh
// (NOT RUN: that needs a Mac); elsewhere it is an installed liblimbeck, found through pkg-config.

import PackageDescription

#if os(Linux)
let library = Target.systemLibrary(name: "CLimbeck", pkgConfig: "limbeck")
#else
// From a release instead: .binaryTarget(name: "CLimbeck", url: "...", checksum: "..."), whose checksum xcframework.sh
// prints.
let library = Target.binaryTarget(name: "CLimbeck", path: "Limbeck.xcframework")
#endif

let package = Package(
    name: "limbeck",
    platforms: [.iOS(.v15), .macOS(.v13)],
    products: [.library(name: "Limbeck", targets: ["Limbeck"])],
    targets: [
        library,
        .target(name: "Limbeck", dependencies: ["CLimbeck"], swiftSettings: [.enableExperimentalFeature("StrictConcurrency")]),
        .testTarget(name: "LimbeckTests", dependencies: ["Limbeck"]),
    ]
)
