plugins {
    id("com.android.application")
    id("org.jetbrains.kotlin.android")
}

android {
    namespace = "io.github.limbeck.sample"
    compileSdk = 36

    defaultConfig {
        applicationId = "io.github.limbeck.sample"
        minSdk = 21
        targetSdk = 36
        versionCode = 1
        versionName = "0.1.0"
    }

    // A compressed asset cannot be mapped.
    androidResources {
        noCompress += "limbeck"
    }

    buildTypes {
        release {
            // The rules for limbeck come with its AAR.
            isMinifyEnabled = true
            proguardFiles(getDefaultProguardFile("proguard-android-optimize.txt"))
        }
    }

    compileOptions {
        sourceCompatibility = JavaVersion.VERSION_11
        targetCompatibility = JavaVersion.VERSION_11
    }
}

kotlin {
    jvmToolchain(17)
}

dependencies {
    // Brings onnxruntime-android, which no other part of the app may bring in another version.
    implementation("io.github.limbeck:limbeck-android:0.1.0")
    implementation("androidx.activity:activity-ktx:1.10.1")
    implementation("androidx.lifecycle:lifecycle-runtime-ktx:2.9.4")
    implementation("org.jetbrains.kotlinx:kotlinx-coroutines-android:1.10.2")
}
