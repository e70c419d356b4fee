/* Browsers start no worker of a page that was opened from disk; the theme's search runs in a hidden frame there instead. */
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      const waiting = []
      this.postMessage = data => waiting.push(data)
      const start = () => {
        const frame = document.createElement("iframe")
        frame.hidden = true
        document.body.append(frame)
        const inner = frame.contentWindow
        inner.postMessage = data => this.dispatchEvent(new MessageEvent("message", { data }))
        const script = frame.contentDocument.createElement("script")
        script.src = url
        script.onload = () => {
          this.postMessage = data => inner.dispatchEvent(new inner.MessageEvent("message", { data }))
          waiting.splice(0).forEach(this.postMessage)
        }
        frame.contentDocument.body.append(script)
      }
      document.body ? start() : addEventListener("DOMContentLoaded", start)
    }
    terminate() {}
  }
}
