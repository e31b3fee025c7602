pluginManagement {
    repositories {
        google()
        mavenCentral()
        gradlePluginPortal()
    }
}

dependencyResolutionManagement {
    repositories {
        google()
        mavenCentral()
        mavenLocal { content { includeGroup("io.github.limbeck") } }
    }
}

rootProject.name = "limbeck-sample"
include(":app")
