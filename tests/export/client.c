/* A client of an export that has TensorFlow's C library and nothing else: no Python, no Keras, no TF Text.

   client DIRECTORY INPUTS INPUT... OUTPUT:INDEX...

   reads a line for each example, with a TAB between its inputs, runs them as one batch, and prints the values of each
   output on a line, with a TAB between them. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"

enum { MOST = 64, LINE = 1 << 20 };

static void check(TF_Status *status, const char *what) {
  if (TF_GetCode(status) != TF_OK) {
    fprintf(stderr, "%s: %s\n", what, TF_Message(status));
    exit(1);
  }
}

static TF_Output operation(TF_Graph *graph, const char *spelling) {
  char name[256];
  int index = 0;
  snprintf(name, sizeof name, "%s", spelling);
  char *colon = strchr(name, ':');
  if (colon) {
    index = atoi(colon + 1);
    *colon = 0;
  }
  TF_Output found = {TF_GraphOperationByName(graph, name), index};
  if (!found.oper) {
    fprintf(stderr, "no operation %s\n", name);
    exit(1);
  }
  return found;
}

static void nothing(void *data, size_t length, void *argument) {
  (void)data, (void)length, (void)argument;
}

static void print(const TF_Tensor *tensor) {
  size_t count = (size_t)TF_TensorElementCount(tensor);
  for (size_t i = 0; i < count; i++) {
    const void *data = TF_TensorData(tensor);
    if (i) putchar('\t');
    if (TF_TensorType(tensor) == TF_STRING) {
      const TF_TString *text = (const TF_TString *)data + i;
      fwrite(TF_StringGetDataPointer(text), 1, TF_StringGetSize(text), stdout);
    } else if (TF_TensorType(tensor) == TF_FLOAT) {
      printf("%.9g", ((const float *)data)[i]);
    } else if (TF_TensorType(tensor) == TF_INT32) {
      printf("%d", ((const int *)data)[i]);
    }
  }
  putchar('\n');
}

int main(int argc, char **argv) {
  TF_Status *status = TF_NewStatus();
  TF_Graph *graph = TF_NewGraph();
  TF_SessionOptions *options = TF_NewSessionOptions();
  const char *tags[] = {"serve"};
  TF_Session *session = TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status, "load");

  int inputs = atoi(argv[2]);
  int outputs = argc - 3 - inputs;
  static char line[LINE];
  static TF_TString texts[4][MOST];
  int64_t rows = 0;
  while (rows < MOST && fgets(line, sizeof line, stdin)) {
    line[strcspn(line, "\n")] = 0;
    char *begin = line;
    for (int i = 0; i < inputs; i++) {
      size_t length = i + 1 < inputs ? strcspn(begin, "\t") : strlen(begin);
      TF_StringInit(&texts[i][rows]);
      TF_StringCopy(&texts[i][rows], begin, length);
      begin += length + 1;
    }
    rows++;
  }

  TF_Output from[4], to[16];
  TF_Tensor *given[4], *found[16];
  for (int i = 0; i < inputs; i++) {
    from[i] = operation(graph, argv[3 + i]);
    given[i] = TF_NewTensor(TF_STRING, &rows, 1, texts[i], rows * sizeof(TF_TString), nothing, NULL);
  }
  for (int i = 0; i < outputs; i++) to[i] = operation(graph, argv[3 + inputs + i]);
  TF_SessionRun(session, NULL, from, given, inputs, to, found, outputs, NULL, 0, NULL, status);
  check(status, "run");
  for (int i = 0; i < outputs; i++) print(found[i]);
  return 0;
}
