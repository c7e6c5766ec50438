// What llama.cpp itself takes for an encoder, without node-llama-cpp and without crossrank: documents a second of
// processor time by configuration, one thread, all configurations in turn; with "profile" the share of each operation.
//
//   git clone node_modules/node-llama-cpp/llama/gitRelease.bundle SOURCE      # llama.cpp's headers, of the binary's age
//   BINS=node_modules/@node-llama-cpp/linux-x64/bins/linux-x64
//   gcc -O2 -ISOURCE/include -ISOURCE/ggml/include lab/gguf/encoder_speed.c -o encoder_speed
//     $BINS/libllama.v0.5.0.so $BINS/libggml.v0.5.0.so $BINS/libggml-base.so -Wl,-rpath,$PWD/$BINS -Wl,--allow-shlib-undefined
//   ./encoder_speed $BINS time FILE.gguf... | ./encoder_speed $BINS profile FILE.gguf...
//
// Sequences are 128 tokens of no meaning; the time does not depend on them.

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ggml-backend.h"
#include "llama.h"

enum { length = 128, documents = 8, rounds = 3, most = 64 };

struct configuration {
    const char * file;
    int sequences; // to a decode
    bool flash;
    enum ggml_type cache;
    struct llama_context * context;
    double seconds;
};

static const struct { int sequences; bool flash; enum ggml_type cache; } settings[] = {
    {1, false, GGML_TYPE_F32}, {1, true, GGML_TYPE_F32}, {1, true, GGML_TYPE_F16}, {8, true, GGML_TYPE_F32},
};

static double processor_time(void) {
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    return time.tv_sec + 1e-9 * time.tv_nsec;
}

static struct { char name[64]; double seconds; } operations[most];
static int operation_count;
static double last;

// With such a callback llama.cpp computes one operation after the other and tells of each.
static bool on_operation(struct ggml_tensor * tensor, bool asks, void * data) {
    (void) data;
    if (asks) return true;
    const double now = processor_time();
    char name[64];
    const bool scores = tensor->op == GGML_OP_MUL_MAT && strstr(tensor->name, "kq") != NULL;
    const char * of = tensor->op != GGML_OP_MUL_MAT ? "" : scores ? "attention" : ggml_type_name(tensor->src[0]->type);
    snprintf(name, sizeof name, "%s %s", ggml_op_desc(tensor), of);
    int index = 0;
    while (index < operation_count && strcmp(operations[index].name, name) != 0) index++;
    if (index == operation_count && index < most - 1) strcpy(operations[operation_count++].name, name);
    operations[index].seconds += now - last;
    last = processor_time();
    return true;
}

static void quiet(enum ggml_log_level level, const char * text, void * data) {
    (void) level, (void) text, (void) data;
}

static void score(struct configuration * one, int count) {
    const int tokens = one->sequences * length;
    for (int document = 0; document < count; document += one->sequences) {
        struct llama_batch batch = llama_batch_init(tokens, 0, 1);
        batch.n_tokens = tokens;
        for (int place = 0; place < tokens; place++) {
            batch.token[place] = 1000 + (31 * document + 7 * place) % 20000;
            batch.pos[place] = place % length;
            batch.n_seq_id[place] = 1;
            batch.seq_id[place][0] = place / length;
            batch.logits[place] = 1;
        }
        if (llama_encode(one->context, batch) != 0) exit(1);
        llama_batch_free(batch);
    }
}

int main(int count, char ** arguments) {
    if (count < 4) return 2;
    const bool profiles = strcmp(arguments[2], "profile") == 0;
    llama_log_set(quiet, NULL);
    ggml_backend_load_all_from_path(arguments[1]);
    struct configuration all[most];
    int found = 0;
    for (int file = 3; file < count; file++) {
        struct llama_model * model = llama_model_load_from_file(arguments[file], llama_model_default_params());
        if (model == NULL) return 1;
        for (int which = 0; which < (profiles ? 2 : 4) && found < most; which++) {
            struct llama_context_params wanted = llama_context_default_params();
            wanted.n_seq_max = settings[which].sequences;
            wanted.n_ctx = settings[which].sequences * (length + 1);
            wanted.n_batch = wanted.n_ubatch = settings[which].sequences * length;
            wanted.embeddings = true;
            wanted.n_threads = wanted.n_threads_batch = 1;
            wanted.type_k = wanted.type_v = settings[which].cache;
            wanted.flash_attn_type =
                settings[which].flash ? LLAMA_FLASH_ATTN_TYPE_ENABLED : LLAMA_FLASH_ATTN_TYPE_DISABLED;
            if (profiles) wanted.cb_eval = on_operation;
            struct configuration * one = &all[found++];
            one->file = arguments[file];
            one->sequences = settings[which].sequences;
            one->flash = settings[which].flash;
            one->cache = settings[which].cache;
            one->seconds = 0;
            one->context = llama_init_from_model(model, wanted);
            if (one->context == NULL) return 1;
            score(one, one->sequences);
        }
    }
    for (int round = 0; round < rounds; round++) {
        for (int index = 0; index < found; index++) {
            memset(operations, 0, sizeof operations);
            operation_count = 0;
            const double start = last = processor_time();
            score(&all[index], documents);
            const double seconds = processor_time() - start;
            all[index].seconds += seconds;
            if (!profiles || round < rounds - 1) continue;
            printf("%s, flash attention %s\n", all[index].file, all[index].flash ? "on" : "off");
            for (int operation = 0; operation < operation_count; operation++) {
                const double share = 100 * operations[operation].seconds / seconds;
                if (share >= 1) printf("  %-24s %5.1f %%\n", operations[operation].name, share);
            }
        }
    }
    for (int index = 0; index < found && !profiles; index++) {
        const struct configuration * one = &all[index];
        printf("%s, flash attention %s, cache %s, %d to a decode: %.2f documents a second of processor time\n", one->file,
               one->flash ? "on" : "off", ggml_type_name(one->cache), one->sequences,
               rounds * documents / one->seconds);
    }
    return 0;
}
