import importlib, json, os, sys, time, traceback, urllib.request

base = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime"
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def post(path, body, kind=None):
    headers = {"Content-Type": "application/json"}
    if kind:
        headers["Lambda-Runtime-Function-Error-Type"] = kind
    opener.open(urllib.request.Request(base + path, data=body, headers=headers)).read()


def describe(e):
    trace = traceback.format_exception(type(e), e, e.__traceback__)
    return json.dumps({"errorMessage": str(e), "errorType": type(e).__name__, "requestId": "", "stackTrace": trace}).encode()


class Context:
    def __init__(self, headers):
        self.aws_request_id = headers["Lambda-Runtime-Aws-Request-Id"]
        self.invoked_function_arn = headers["Lambda-Runtime-Invoked-Function-Arn"]
        self._deadline = int(headers["Lambda-Runtime-Deadline-Ms"])
        self.function_name = os.environ["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version = os.environ["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb = os.environ["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"]
        self.log_group_name = os.environ["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name = os.environ["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.client_context = json.loads(headers.get("Lambda-Runtime-Client-Context") or "null")
        self.identity = None

    def get_remaining_time_in_millis(self):
        return max(0, self._deadline - int(time.time() * 1000))


try:
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    module, _, name = os.environ["_HANDLER"].rpartition(".")
    handler = getattr(importlib.import_module(module.replace("/", ".")), name)
except BaseException as e:
    kind = "Runtime.ImportModuleError" if isinstance(e, ImportError) else "Runtime.HandlerNotFound"
    body = json.loads(describe(e))
    body["errorType"] = kind
    post("/init/error", json.dumps(body).encode(), kind)
    sys.exit(1)

while True:
    with opener.open(base + "/invocation/next") as r:
        headers, event = r.headers, r.read()
    id = headers["Lambda-Runtime-Aws-Request-Id"]
    os.environ["_X_AMZN_TRACE_ID"] = headers.get("Lambda-Runtime-Trace-Id") or ""
    try:
        result = json.dumps(handler(json.loads(event), Context(headers))).encode()
    except Exception as e:
        print("[ERROR] %s: %s" % (type(e).__name__, e), flush=True)
        post("/invocation/%s/error" % id, describe(e), type(e).__name__)
        continue
    post("/invocation/%s/response" % id, result)
