"""Pictures of segments: colours per label, contours, placed names, overlays.

The modules are imported one by one (`vision.draw.colors` needs no imaging library), so that
the command line can colour its charts without loading OpenCV.
"""
