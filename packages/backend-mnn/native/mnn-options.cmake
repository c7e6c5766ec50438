# Read by CMake as its toolchain file, the one door that mnn-sys leaves open to MNN's options. It names no tools.

# 8-bit weights stay 8-bit in memory, where the session asks for memory "low"; without it they are unfolded to float.
set(MNN_LOW_MEMORY ON CACHE BOOL "" FORCE)
# Kernels for AVX-512, chosen at run time where the processor has it. Off in MNN's own default build.
set(MNN_AVX512 ON CACHE BOOL "" FORCE)
# Fetches its sources from the network while it configures.
set(MNN_KLEIDIAI OFF CACHE BOOL "" FORCE)
