// SPDX-License-Identifier: GPL-2.0-or-later
//
// Hook: names and numbers in JSON are written without escapes and formats (json-text.h).
//
// plain: a string without anything to escape.
// number: a whole number.
//
// The description at the end of a migration's stream is written while the guest stands still: half of the
// instructions of saving a small machine's devices. Delete these rules when the base is as fast.

@header@
position p;
@@
  #include "qobject/json-writer.h"@p
+ #include "qobject/json-text.h"

@plain@
typedef JSONWriter;
identifier writer, str;
position p;
@@
  quoted_str(JSONWriter *writer, const char *str)
  {
      ... when != g_string_append_c(...)
+     if (json_text_plain(writer->contents, str)) {
+         return;
+     }
      g_string_append_c@p(writer->contents, '"');
      ... when any
  }

@number@
identifier writer, name, val;
position p;
@@
  json_writer_int64(JSONWriter *writer, const char *name, int64_t val)
  {
      ...
-     g_string_append_printf@p(...);
+     json_text_number(writer->contents, val);
  }
