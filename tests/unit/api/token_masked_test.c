/* weir/token.h as a pipeline built for a CPU with AVX-512 sees it: the tests of token_test.c once more. Elsewhere it is
 * left out, and says so. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#pragma GCC target("avx512f,avx512bw,avx512vl,bmi2")
#define main token_tests
#include "token_test.c"
#undef main
#ifndef WEIR_MASKED_LOADS_
#error "the header does not use masked loads here: this test would test nothing new"
#endif

int main(void)
{
    if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("bmi2")) {
        puts("skipped: this CPU has no AVX-512");
        return 0;
    }
    return token_tests();
}
#else
#include <stdio.h>

int main(void)
{
    puts("skipped: this compiler or CPU has no AVX-512 by pragma");
    return 0;
}
#endif
