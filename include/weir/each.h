/* weir/each.h: counting the arguments of a macro, and calling a macro for each of them. At most 128. Preprocessor
 * only.
 *
 * 128 macros that peel off one argument each would be the obvious way; here a list is cut into blocks of 16 first,
 * so that 24 macros do and the expansion stays shallow. */
#ifndef WEIR_EACH_H
#define WEIR_EACH_H
/* clang-format off */

/* Picks its 145th argument. */
#define WEIR_PICK_(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, aA, aB, aC, aD, aE, aF, b0, b1, b2, b3, b4, b5, b6, b7, b8, \
                   b9, bA, bB, bC, bD, bE, bF, c0, c1, c2, c3, c4, c5, c6, c7, c8, c9, cA, cB, cC, cD, cE, cF, d0, d1, \
                   d2, d3, d4, d5, d6, d7, d8, d9, dA, dB, dC, dD, dE, dF, e0, e1, e2, e3, e4, e5, e6, e7, e8, e9, eA, \
                   eB, eC, eD, eE, eF, f0, f1, f2, f3, f4, f5, f6, f7, f8, f9, fA, fB, fC, fD, fE, fF, g0, g1, g2, g3, \
                   g4, g5, g6, g7, g8, g9, gA, gB, gC, gD, gE, gF, h0, h1, h2, h3, h4, h5, h6, h7, h8, h9, hA, hB, hC, \
                   hD, hE, hF, i0, i1, i2, i3, i4, i5, i6, i7, i8, i9, iA, iB, iC, iD, iE, iF, PICKED, ...)            \
    PICKED

/* How many arguments: 1 ... 128, or the token MORE_THAN_128. */
#define WEIR_COUNT_(...)                                                                                               \
    WEIR_PICK_(__VA_ARGS__, MORE_THAN_128, MORE_THAN_128, MORE_THAN_128, MORE_THAN_128, MORE_THAN_128, MORE_THAN_128,  \
               MORE_THAN_128, MORE_THAN_128, MORE_THAN_128, MORE_THAN_128, MORE_THAN_128, MORE_THAN_128,               \
               MORE_THAN_128, MORE_THAN_128, MORE_THAN_128, MORE_THAN_128, 128, 127, 126, 125, 124, 123, 122, 121,     \
               120, 119, 118, 117, 116, 115, 114, 113, 112, 111, 110, 109, 108, 107, 106, 105, 104, 103, 102, 101,     \
               100, 99, 98, 97, 96, 95, 94, 93, 92, 91, 90, 89, 88, 87, 86, 85, 84, 83, 82, 81, 80, 79, 78, 77, 76,    \
               75, 74, 73, 72, 71, 70, 69, 68, 67, 66, 65, 64, 63, 62, 61, 60, 59, 58, 57, 56, 55, 54, 53, 52, 51, 50, \
               49, 48, 47, 46, 45, 44, 43, 42, 41, 40, 39, 38, 37, 36, 35, 34, 33, 32, 31, 30, 29, 28, 27, 26, 25, 24, \
               23, 22, 21, 20, 19, 18, 17, 16, 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)

/* How many whole blocks of 16 stand before the last 1 ... 16 arguments: 0 ... 7. */
#define WEIR_BLOCKS_(...)                                                                                              \
    WEIR_PICK_(__VA_ARGS__, MORE_THAN_128, MORE_THAN_128, MORE_THAN_128, MORE_THAN_128, MORE_THAN_128, MORE_THAN_128,  \
               MORE_THAN_128, MORE_THAN_128, MORE_THAN_128, MORE_THAN_128, MORE_THAN_128, MORE_THAN_128,               \
               MORE_THAN_128, MORE_THAN_128, MORE_THAN_128, MORE_THAN_128, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,   \
               7, 7, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 6, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5,   \
               4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 2, 2,   \
               2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0,   \
               0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)

/* WEIR_EACH_(M, X, a, b, ...) = M(X, a) M(X, b) ... */
#define WEIR_EACH_(M, X, ...)         WEIR_CAT_(WEIR_EACH_BLOCKS_, WEIR_BLOCKS_(__VA_ARGS__))(M, X, __VA_ARGS__)
#define WEIR_EACH_BLOCKS_0(M, X, ...) WEIR_CAT_(WEIR_EACH_LAST_, WEIR_COUNT_(__VA_ARGS__))(M, X, __VA_ARGS__)
#define WEIR_EACH_BLOCKS_1(M, X, ...)                                                                                  \
    WEIR_EACH_16_(M, X, __VA_ARGS__) WEIR_EACH_BLOCKS_0(M, X, WEIR_AFTER_16_(__VA_ARGS__))
#define WEIR_EACH_BLOCKS_2(M, X, ...)                                                                                  \
    WEIR_EACH_16_(M, X, __VA_ARGS__) WEIR_EACH_BLOCKS_1(M, X, WEIR_AFTER_16_(__VA_ARGS__))
#define WEIR_EACH_BLOCKS_3(M, X, ...)                                                                                  \
    WEIR_EACH_16_(M, X, __VA_ARGS__) WEIR_EACH_BLOCKS_2(M, X, WEIR_AFTER_16_(__VA_ARGS__))
#define WEIR_EACH_BLOCKS_4(M, X, ...)                                                                                  \
    WEIR_EACH_16_(M, X, __VA_ARGS__) WEIR_EACH_BLOCKS_3(M, X, WEIR_AFTER_16_(__VA_ARGS__))
#define WEIR_EACH_BLOCKS_5(M, X, ...)                                                                                  \
    WEIR_EACH_16_(M, X, __VA_ARGS__) WEIR_EACH_BLOCKS_4(M, X, WEIR_AFTER_16_(__VA_ARGS__))
#define WEIR_EACH_BLOCKS_6(M, X, ...)                                                                                  \
    WEIR_EACH_16_(M, X, __VA_ARGS__) WEIR_EACH_BLOCKS_5(M, X, WEIR_AFTER_16_(__VA_ARGS__))
#define WEIR_EACH_BLOCKS_7(M, X, ...)                                                                                  \
    WEIR_EACH_16_(M, X, __VA_ARGS__) WEIR_EACH_BLOCKS_6(M, X, WEIR_AFTER_16_(__VA_ARGS__))
#define WEIR_EACH_BLOCKS_MORE_THAN_128(M, X, ...) WEIR_CHECK_(0, "at most 128 fields in one record or state")

/* The first 16, and what follows them. (A macro cannot call itself, so the first 16 do not call for the rest.) */
#define WEIR_AFTER_16_(a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, aA, aB, aC, aD, aE, aF, ...) __VA_ARGS__
#define WEIR_EACH_16_(M, X, a0, a1, a2, a3, a4, a5, a6, a7, a8, a9, aA, aB, aC, aD, aE, aF, ...)                       \
    M(X, a0)                                                                                                           \
    M(X, a1)                                                                                                           \
    M(X, a2) M(X, a3) M(X, a4) M(X, a5) M(X, a6) M(X, a7) M(X, a8) M(X, a9) M(X, aA) M(X, aB) M(X, aC) M(X, aD)        \
        M(X, aE) M(X, aF)

/* The last 1 ... 16. */
#define WEIR_EACH_LAST_1(M, X, A)       M(X, A)
#define WEIR_EACH_LAST_2(M, X, A, ...)  M(X, A) WEIR_EACH_LAST_1(M, X, __VA_ARGS__)
#define WEIR_EACH_LAST_3(M, X, A, ...)  M(X, A) WEIR_EACH_LAST_2(M, X, __VA_ARGS__)
#define WEIR_EACH_LAST_4(M, X, A, ...)  M(X, A) WEIR_EACH_LAST_3(M, X, __VA_ARGS__)
#define WEIR_EACH_LAST_5(M, X, A, ...)  M(X, A) WEIR_EACH_LAST_4(M, X, __VA_ARGS__)
#define WEIR_EACH_LAST_6(M, X, A, ...)  M(X, A) WEIR_EACH_LAST_5(M, X, __VA_ARGS__)
#define WEIR_EACH_LAST_7(M, X, A, ...)  M(X, A) WEIR_EACH_LAST_6(M, X, __VA_ARGS__)
#define WEIR_EACH_LAST_8(M, X, A, ...)  M(X, A) WEIR_EACH_LAST_7(M, X, __VA_ARGS__)
#define WEIR_EACH_LAST_9(M, X, A, ...)  M(X, A) WEIR_EACH_LAST_8(M, X, __VA_ARGS__)
#define WEIR_EACH_LAST_10(M, X, A, ...) M(X, A) WEIR_EACH_LAST_9(M, X, __VA_ARGS__)
#define WEIR_EACH_LAST_11(M, X, A, ...) M(X, A) WEIR_EACH_LAST_10(M, X, __VA_ARGS__)
#define WEIR_EACH_LAST_12(M, X, A, ...) M(X, A) WEIR_EACH_LAST_11(M, X, __VA_ARGS__)
#define WEIR_EACH_LAST_13(M, X, A, ...) M(X, A) WEIR_EACH_LAST_12(M, X, __VA_ARGS__)
#define WEIR_EACH_LAST_14(M, X, A, ...) M(X, A) WEIR_EACH_LAST_13(M, X, __VA_ARGS__)
#define WEIR_EACH_LAST_15(M, X, A, ...) M(X, A) WEIR_EACH_LAST_14(M, X, __VA_ARGS__)
#define WEIR_EACH_LAST_16(M, X, A, ...) M(X, A) WEIR_EACH_LAST_15(M, X, __VA_ARGS__)
/* clang-format on */
#endif
